// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Restore;
using Tidemark.Engine.Runs;

namespace Tidemark.Storm.Tests;

internal sealed partial class Storm
{
    // What the disks of every point held at its instant, SHA-256 and length; by point and disk.
    private readonly Dictionary<string, IReadOnlyDictionary<string, (string Hash, int Length)>> _truths = new(StringComparer.Ordinal);
    private readonly List<PointInfo> _points = [];

    private string RepositoryFolder => Path.Combine(_root, "repository");

    private string KeyFile => Path.Combine(_root, "key");

    private static string[] GuardianCommand => ["dotnet", "exec", Built("src/Cli", "tidemark.dll"), "guardian"];

    private static string Built(string project, string file) => Path.Combine(
        AppContext.BaseDirectory.Replace("/tests/Storm.Tests/bin/", $"/{project}/bin/", StringComparison.Ordinal), file);

    private Task InitRepositoryAsync() => RepositorySession.InitAsync(
        RepositoryFolder, new RepositoryAccess(null, KeyFile), allowSingleWriter: false, Token);

    // Each backup opens everything anew, as the command does.
    private Task<RepositorySession> OpenRepositoryAsync() =>
        RepositorySession.OpenAsync(RepositoryFolder, new RepositoryAccess(null, KeyFile), Token);

    private async Task BackUpAsync()
    {
        var options = _random.Next(12) switch
        {
            0 => new BackupOptions { Full = true },
            1 => new BackupOptions { Disks = ["vda"] },
            2 => new BackupOptions { Disks = ["vdb"] },
            _ => new BackupOptions(),
        };
        var writesMeanwhile = _random.Next(4) == 0;
        Say($"{(options.Full ? "full " : "")}{string.Join(' ', options.Disks)}{(writesMeanwhile ? ", writes meanwhile" : "")}");
        var truth = await TruthAsync();
        var foreign = await ForeignAsync();
        var writing = Task.CompletedTask;
        var point = await RunAsync(options, step =>
        {
            if (writesMeanwhile && step == RunStep.Thawed)
                writing = WriteAsync();
        });
        await writing;
        await NoteNewPointsAsync(truth);
        Assert.Equal(point.Id, _points[^1].Id);
        JudgeModes(point, options);
        await JudgeMachineAsync(point, foreign);
    }

    // The images of the stopped machine; a full read of them is followed by one of the running machine, which alone can track.
    private async Task BackUpWhileOffAsync()
    {
        if (_random.Next(3) == 0)
        {
            Say("QEMU killed");
            await _machine.KillAsync(Token);
            Excuse("kill QEMU", _machine.Disks);
        }
        else
        {
            await _machine.StopAsync(Token);
        }

        var truth = await TruthAsync();
        var options = new BackupOptions();
        var point = await RunAsync(options, _ => { });
        await NoteNewPointsAsync(truth);
        Assert.Equal((point.Id, "offline"), (_points[^1].Id, point.Consistency));
        JudgeModes(point, options);
        Excuse("full while off", point.Disks.Where(disk => disk.Mode == "full").Select(disk => disk.Name));
        JudgeFolders();
        await _machine.StartAsync(Token);
    }

    private async Task<PointInfo> RunAsync(BackupOptions options, Action<RunStep> reached)
    {
        await using var hypervisor = await Hypervisors.ConnectAsync(_at.Lab.Uri, Token);
        await using var repository = await OpenRepositoryAsync();
        var context = new BackupContext
        {
            Hypervisor = hypervisor,
            Repository = repository,
            Folders = _at.Folders,
            Guardians = new Guardians(GuardianCommand, hypervisor.Connect, _at.Folders),
            Observer = happened =>
            {
                if (happened is StepReached step)
                    reached(step.Step);
            },
        };
        var point = await BackupRun.RunAsync(context, _machine.Domain.Uuid.ToString("d"), options, Token);
        Say(string.Join(", ", point.Disks.Select(disk => $"{disk.Name} {disk.Mode}: {disk.Reason}")));
        return point;
    }

    private void JudgeModes(PointInfo point, BackupOptions options)
    {
        foreach (var disk in point.Disks)
        {
            if (_points.Count(earlier => earlier.Disks.Any(other => other.Name == disk.Name)) > 1 && !options.Full)
            {
                var benign = !_excuses.TryGetValue(disk.Name, out var excuse);
                Tally.CountDisk(benign, disk.Mode == "incremental");
                if (benign)
                    Assert.True(disk.Mode == "incremental", $"Disk '{disk.Name}' was read in full without need: {disk.Reason}.");
                else
                    Say($"excused by {excuse}");
            }

            _excuses.Remove(disk.Name);
        }
    }

    /// <summary>
    /// No job, nothing left of runs, no checkpoint of ours but what the newest points need, no bitmap of another on any image, the lower
    /// ones included; foreign ones stay.
    /// </summary>
    private async Task JudgeMachineAsync(PointInfo point, IReadOnlySet<string> foreignBefore)
    {
        Assert.False((await _machine.Domain.GetJobStatsAsync(cancellationToken: Token)).IsActive);
        JudgeFolders();
        // A backup while the machine is off makes no checkpoint: then the one before counts on.
        var needed = _points.SelectMany(other => other.Disks).Where(disk => disk.Checkpoint is not null)
            .GroupBy(disk => disk.Name, StringComparer.Ordinal).Select(disks => disks.Last().Checkpoint!)
            .ToHashSet(StringComparer.Ordinal);
        var records = await _machine.Domain.ListCheckpointsAsync(Token);
        Assert.Contains(point.Disks[0].Checkpoint, records);
        Assert.Empty(records.Where(IsOurs).Except(needed, StringComparer.Ordinal));
        Assert.DoesNotContain(await BitmapsAsync(), bitmap => IsOurs(bitmap.Name) && !needed.Contains(bitmap.Name));
        Assert.Empty(foreignBefore.Except(await ForeignAsync(), StringComparer.Ordinal));
    }

    private void JudgeFolders()
    {
        Assert.Empty(Directory.GetFileSystemEntries(_at.Folders.Scratch));
        Assert.Empty(Directory.GetFileSystemEntries(_at.Folders.Journal));
    }

    // Records and bitmaps that are not ours, each with where it is.
    private async Task<IReadOnlySet<string>> ForeignAsync()
    {
        var records = await _machine.Domain.ListCheckpointsAsync(Token);
        var bitmaps = (await BitmapsAsync()).Select(bitmap => (bitmap.Name, Where: $"{bitmap.Name} of {bitmap.Disk} on {bitmap.Node}"));
        return bitmaps.Where(bitmap => !IsOurs(bitmap.Name)).Select(bitmap => bitmap.Where)
            .Concat(records.Where(name => !IsOurs(name))).ToHashSet(StringComparer.Ordinal);
    }

    private async Task<IReadOnlyDictionary<string, byte[]>> TruthAsync()
    {
        var truth = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var disk in _machine.Disks)
            truth.Add(disk, await _machine.ReadDiskAsync(disk, Token));
        return truth;
    }

    // Points that were not there before hold what the disks held when they were made.
    private async Task NoteNewPointsAsync(IReadOnlyDictionary<string, byte[]> truth)
    {
        await using var repository = await OpenRepositoryAsync();
        var list = await repository.PointsAsync(Token);
        Assert.Empty(list.Damaged);
        foreach (var point in list.Points.Where(point => !_truths.ContainsKey(point.Id)).ToList())
        {
            _truths.Add(point.Id, truth.ToDictionary(
                pair => pair.Key, pair => (Convert.ToHexString(SHA256.HashData(pair.Value)), pair.Value.Length), StringComparer.Ordinal));
            _points.Add(point);
            Say($"point {point.Id}");
            await CompareAsync(repository, point, truth);
        }

        Assert.Equal(_points.Select(point => point.Id), list.Points.Select(point => point.Id));
    }

    /// <summary>The newest points again, as many as asked for: history does not change.</summary>
    private async Task LookBackAsync(int most)
    {
        await using var repository = await OpenRepositoryAsync();
        foreach (var point in _points.TakeLast(most))
            await CompareAsync(repository, point, truth: null);
    }

    private async Task CompareAsync(RepositorySession repository, PointInfo point, IReadOnlyDictionary<string, byte[]>? truth)
    {
        var options = new RestoreOptions { Folder = Path.Combine(_root, NewName("restored")), Format = "raw" };
        var result = await RestoreRun.RunAsync(repository, null, point, options, _ => { }, Token);
        foreach (var disk in result.Disks)
        {
            var bytes = await File.ReadAllBytesAsync(disk.Target, Token);
            var (hash, length) = _truths[point.Id][disk.Name];
            var where = $"Disk '{disk.Name}' of point '{point.Id}'";
            Assert.True(disk.Verified, $"{where} was not verified.");
            Assert.True(bytes.Length == length, $"{where} has {bytes.Length} bytes, its disk had {length}.");
            if (Convert.ToHexString(SHA256.HashData(bytes)) != hash)
                Assert.Fail($"{where} is not what its disk held{(truth is null ? "" : $", from {Differences(truth[disk.Name], bytes)}")}.");
            Tally.Compared++;
        }

        Directory.Delete(options.Folder!, recursive: true);
    }

    private static string Differences(byte[] truth, byte[] restored)
    {
        const int Block = 4096;
        var blocks = Enumerable.Range(0, (truth.Length + Block - 1) / Block)
            .Where(block => !Piece(truth, block).SequenceEqual(Piece(restored, block)));
        return string.Join(' ', blocks.Take(20).Select(block => block * Block));

        static ReadOnlySpan<byte> Piece(byte[] bytes, int block) =>
            bytes.AsSpan(block * Block, Math.Min(Block, bytes.Length - (block * Block)));
    }
}
