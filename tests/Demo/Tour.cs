// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text.Json;
using Tidemark.Lab.Guests;
using Tidemark.Libvirt;

namespace Tidemark.Demo;

/// <summary>A restore point, and the files that it must hold: durable before it was frozen, and still there after it.</summary>
internal sealed record Taken(string Id, Step Step, IReadOnlyList<GuestFile> Files, IReadOnlyList<GuestFile> After);

/// <summary>The steps, in order. The first thing that is not as it must be ends the tour with an <see cref="OffException"/>.</summary>
internal sealed class Tour
{
    private const string Name = "web", Copy = "web-yesterday", Disk = "vda";
    private const long DiskBytes = 10L << 30;
    private const int WorkedFiles = 60;
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan WorkLimit = TimeSpan.FromSeconds(90);

    private readonly Stage _stage;
    private readonly Screen _screen;
    private readonly CommandLine _tidemark;
    private readonly CancellationToken _stop;
    private readonly List<Taken> _taken = [];
    private Domain _machine = null!;
    private GuestCommands _guest = null!;

    private Tour(Stage stage, Screen screen, CommandLine tidemark, CancellationToken stop)
    {
        _stage = stage;
        _screen = screen;
        _tidemark = tidemark;
        _stop = stop;
    }

    /// <param name="program">The command line, <c>./tidemark</c>.</param>
    /// <param name="screen">Told of everything.</param>
    /// <param name="stop">Ends the tour in order.</param>
    public static async Task RunAsync(string program, Screen screen, CancellationToken stop)
    {
        screen.Say("[bold]Tidemark[/] backs up a Linux guest while it works, and brings back any moment of it.\n");
        var image = await GuestImage.BuildAsync(GuestImage.DefaultCacheFolder, stop);
        await using var stage = await Stage.OpenAsync(stop);
        var tour = new Tour(stage, screen, new CommandLine(program, screen, stage.Settings), stop);
        await tour.BootAsync(image);
        await tour.InitAsync();
        await tour.BackUpAsync("Full backup", "full");
        await tour.BackUpAsync("It works on; incremental", "incremental");
        await tour.BackUpAsync("It works on; incremental", "incremental");
        await tour.RestoreAsync();
        await tour.CheckCopyAsync();
        await tour.LookAtEveryPointAsync();
        await tour.VerifyAsync();
        await tour.CheckNothingIsLeftAsync();
    }

    private Task BootAsync(GuestImage image) => _screen.StepAsync($"Machine '{Name}' boots, writes", async step =>
    {
        _machine = await _stage.StartGuestAsync(image, Name, DiskBytes, _stop);
        _guest = new GuestCommands(_machine);
        await _guest.WaitUntilBootedAsync(BootLimit, _stop);
        var (_, kernel) = await _guest.RunAsync("/bin/uname", ["-r"], _stop);
        await _guest.StartAsync("/bin/guest-writer", [], _stop);
        step.Proofs.Add($"Linux {kernel.Trim()}, {Screen.Size(DiskBytes)} ext4");
        await WaitForFilesAsync([]);
        return true;
    });

    private Task InitAsync() => _screen.StepAsync("Encrypted repository", async step =>
    {
        var made = await _tidemark.RunAsync(_stop, "init");
        OffException.Unless(made.GetProperty("encrypted").GetBoolean(), "The repository is not encrypted.");
        step.Proofs.Add("opens with its key file only");
        return true;
    });

    private async Task BackUpAsync(string name, string mode)
    {
        if (_taken.Count > 0)
            await WaitForFilesAsync(_taken[^1].After);
        _taken.Add(await _screen.StepAsync(name, async step =>
        {
            var before = await _guest.ListFilesAsync(Disk, _stop);
            var begun = Stopwatch.GetTimestamp();
            var result = await _tidemark.RunAsync(_stop, "backup", Name);
            step.Time = Stopwatch.GetElapsedTime(begun);
            var after = await _guest.ListFilesAsync(Disk, _stop);

            var point = result.GetProperty("points")[0];
            var disk = point.GetProperty("disks")[0];
            step.ReadBytes = disk.GetProperty("readBytes").GetInt64();
            step.StoredBytes = disk.GetProperty("storedBytes").GetInt64();
            step.DiskBytes = disk.GetProperty("size").GetInt64();
            OffException.Unless(
                disk.GetProperty("mode").GetString() == mode, $"The disk was not read as '{mode}': {disk.GetProperty("reason")}.");
            var consistency = point.GetProperty("consistency").GetString();
            OffException.Unless(
                consistency == "filesystem", $"The file systems were not frozen; the point is {consistency}-consistent: {Warnings(point)}");
            return new Taken(point.GetProperty("id").GetString()!, step, before.Intersect(after).ToList(), after);
        }));
    }

    private Task RestoreAsync() => _screen.StepAsync($"Middle point becomes '{Copy}'", async step =>
    {
        var middle = _taken[1];
        var result = await _tidemark.RunAsync(
            _stop, "restore", middle.Id, "--to", _stage.Restored, "--define", "--name", Copy, "--start");
        var disk = result.GetProperty("disks")[0];
        OffException.Unless(disk.GetProperty("verified").GetBoolean(), "The restored disk was not proved.");
        OffException.Unless(result.GetProperty("started").GetBoolean(), $"Machine '{Copy}' was not started.");
        step.Proofs.Add($"{Screen.Size(disk.GetProperty("bytesWritten").GetInt64())} written; read back, the same hash tree");
        return true;
    });

    private Task CheckCopyAsync() => _screen.StepAsync($"'{Copy}' checks its files", async step =>
    {
        var copy = await _stage.Host.Connection.GetDomainAsync(Copy, _stop);
        OffException.Unless(copy.Uuid != _machine.Uuid, "The new machine has the UUID of the old one.");
        var guest = new GuestCommands(copy);
        await guest.WaitUntilBootedAsync(BootLimit, _stop);
        var (_, verdict) = await guest.RunAsync("/bin/guest-check", [], _stop);
        OffException.Unless(verdict.StartsWith("CHECK OK", StringComparison.Ordinal), $"The new machine says: {verdict.Trim()}");

        var held = await guest.ListFilesAsync(Disk, _stop);
        var missing = _taken[1].Files.Except(held).Count();
        OffException.Unless(missing == 0, $"{missing} files of the middle point are not on the new machine.");
        var later = _taken[2].Files.Except(_taken[1].After).ToList();
        var tooNew = later.Intersect(held).Count();
        OffException.Unless(
            later.Count > 0 && tooNew == 0, $"{tooNew} of {later.Count} files that were written later are on the new machine.");
        step.Proofs.Add($"{held.Count} files, all whole;\nnone of the {later.Count} written later");
        await copy.DestroyAsync(_stop);
        return true;
    });

    // The machine that booted has changed its disk; these are as the points have them.
    private Task LookAtEveryPointAsync() => _screen.StepAsync("Every point seen from outside", async step =>
    {
        foreach (var taken in _taken)
        {
            var result = await _tidemark.RunAsync(_stop, "restore", taken.Id, "--to", _stage.Looked, "--format", "raw");
            var path = result.GetProperty("disks")[0].GetProperty("target").GetString()!;
            var report = await GuestFiles.VerifyAsync(path, taken.Files, frozen: true, _stop);
            OffException.Unless(report.Problems.Count == 0, $"Restore point {taken.Id}: {string.Join("; ", report.Problems.Take(5))}.");
            taken.Step.Proofs.Add($"e2fsck clean, {taken.Files.Count} of {taken.Files.Count} files whole");
            File.Delete(path);
        }

        step.Proofs.Add("restored raw: no file system needs repair");
        return true;
    });

    private Task VerifyAsync() => _screen.StepAsync("Whole repository verified", async step =>
    {
        var result = await _tidemark.RunAsync(_stop, "verify", "--level", "data");
        var looked = result.GetProperty("checked");
        OffException.Unless(result.GetProperty("ok").GetBoolean(), $"The repository is damaged: {result.GetProperty("damaged")}");
        OffException.Unless(looked.GetProperty("points").GetInt32() == _taken.Count, $"Not every point was verified: {looked}");
        step.ReadBytes = looked.GetProperty("bytes").GetInt64();
        OffException.Unless(step.ReadBytes > 0, "The verification read nothing.");
        step.Proofs.Add($"{_taken.Count} points, {looked.GetProperty("objects").GetInt64()} objects, all sound");
        return true;
    });

    private Task CheckNothingIsLeftAsync() => _screen.StepAsync($"'{Name}' was never in the way", async step =>
    {
        var status = await _guest.FreezeStatusAsync(_stop);
        OffException.Unless(status == "thawed", $"The guest's file systems are {status}.");
        await WaitForFilesAsync(await _guest.ListFilesAsync(Disk, _stop), files: 1);
        var checkpoints = await _machine.ListCheckpointsAsync(_stop);
        OffException.Unless(checkpoints.Count == 1, $"The machine has {checkpoints.Count} checkpoints instead of one.");
        OffException.Unless(!(await _machine.GetJobStatsAsync(cancellationToken: _stop)).IsActive, "A job is still active on the machine.");
        // What is written down of checkpoints stays; journal entries go with their runs.
        var left = Directory.EnumerateFileSystemEntries(_stage.Scratch)
            .Concat(Directory.EnumerateFiles(Path.Combine(_stage.State, "runs"), "*.json")).ToList();
        OffException.Unless(left.Count == 0, $"The backups left something behind: {string.Join(", ", left)}.");
        step.Proofs.Add("it writes on; no job, no scratch file,\none checkpoint for the next backup");
        return true;
    });

    private async Task WaitForFilesAsync(IReadOnlyList<GuestFile> known, int files = WorkedFiles)
    {
        for (var begun = Stopwatch.GetTimestamp(); ; await Task.Delay(300, _stop))
        {
            var added = (await _guest.ListFilesAsync(Disk, _stop)).Except(known).Count();
            if (added >= files)
                return;
            OffException.Unless(
                Stopwatch.GetElapsedTime(begun) < WorkLimit,
                $"The guest wrote {added} files in {WorkLimit.TotalSeconds} seconds; it hangs, or this computer is very busy.");
        }
    }

    private static string Warnings(JsonElement point) =>
        string.Join(" ", point.GetProperty("warnings").EnumerateArray().Select(warning => warning.GetString()));
}
