// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Care;
using Tidemark.Engine.Copy;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>
/// Bitmaps that lie: an audit finds it, the disk is whole again in the same run, and earlier points say that they may lack changes.
/// </summary>
public sealed class AuditTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;
    private const int Chunk = 1 << 16;
    private const int Chunks = 64;
    private const int Quarter = Chunks / 4;

    [Fact]
    public async Task ClearedBitmap_IsFoundByAnAuditOfEverything_AndTheDiskIsWholeInTheSameRun()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "cleared");
        var first = await lab.BackUpAsync(machine, Audit(100));
        await machine.WriteAsync("vda", 5 * Chunk, 3 * Chunk, 0x31, EngineLab.Token);
        await machine.DiscardAsync("vda", 20 * Chunk, 2 * Chunk, EngineLab.Token);
        await ClearBitmapAsync(machine);
        await machine.WriteAsync("vda", 40 * Chunk, Chunk, 0x32, EngineLab.Token);

        var truth = await EngineLab.TruthAsync(machine);
        var healed = await lab.BackUpAsync(machine, Audit(100));
        AssertHealed(healed);
        await lab.AssertRestoresAsync(healed, truth);
        await lab.AssertCleanAsync(machine);

        // The only point before was read in full, so it lacks nothing.
        Assert.All((await lab.Repository.PointsAsync(EngineLab.Token)).Points, point => Assert.Null(point.Disks[0].Doubt));
        Assert.DoesNotContain(healed.Warnings, warning => warning.Contains("may lack", StringComparison.Ordinal));
        var next = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal(("incremental", 0L), (next.Disks[0].Mode, next.Disks[0].ReadBytes));
        Assert.Equal(next.Time, next.Disks[0].CoveredSince);
        await lab.AssertRestoresAsync(next, truth);
        Assert.NotEqual(first.Disks[0].Root, next.Disks[0].Root);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task LieOutsideTheSample_IsFoundWithinTheRotation_AndPointsSinceTheRegionsLastAuditAreMarked()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "rotation");
        var points = new List<PointInfo> { await lab.BackUpAsync(machine, Audit(25)) };
        points.Add(await lab.BackUpAsync(machine, Audit(25))); // compares the first quarter
        points.Add(await lab.BackUpAsync(machine, Audit(25))); // the second
        Assert.Equal(points[0].Time, points[2].Disks[0].CoveredSince);
        var right = await EngineLab.TruthAsync(machine);
        await LieAsync(lab, machine, 2, Quarter - 2);
        points.Add(await lab.BackUpAsync(machine, Audit(25)));
        points.Add(await lab.BackUpAsync(machine, Audit(25)));
        Assert.All(points.Skip(1), point => Assert.Equal("incremental", point.Disks[0].Mode));

        var truth = await EngineLab.TruthAsync(machine);
        points.Add(await lab.BackUpAsync(machine, Audit(25)));
        AssertHealed(points[5]);
        await lab.AssertRestoresAsync(points[5], truth);
        Assert.Contains(points[5].Warnings, warning => warning.Contains(points[3].Id, StringComparison.Ordinal));
        var listed = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal(
            [false, false, true, true, true, false], listed.OrderBy(point => point.Seq).Select(point => point.Disks[0].Doubt is not null));
        Assert.All(listed.Where(point => point.Disks[0].Doubt is not null), point =>
        {
            Assert.Equal(points[1].Time, point.Disks[0].Doubt!.Since);
            Assert.Contains(point.Warnings, warning => warning.Contains("may lack changes", StringComparison.Ordinal));
        });
        await lab.AssertRestoresAsync(points[0], right);
        await lab.AssertRestoresAsync(points[1], right);
        await AssertIncrementalAndExactAsync(lab, machine);
        await AssertVerifyAndRestoreWarnAsync(lab, points[3]);
        await AssertMarksOutliveAsync(lab, points[3], points[5]);
        await machine.StopAsync(EngineLab.Token);
    }

    private static async Task AssertIncrementalAndExactAsync(EngineLab lab, LabMachine machine)
    {
        await machine.WriteAsync("vda", 9 * Chunk, 4096, 0x44, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var next = await lab.BackUpAsync(machine, Audit(25));
        Assert.Equal(("incremental", Chunk), (next.Disks[0].Mode, next.Disks[0].ReadBytes));
        await lab.AssertRestoresAsync(next, truth);
    }

    private static async Task AssertVerifyAndRestoreWarnAsync(EngineLab lab, PointInfo suspect)
    {
        var verified = await lab.Repository.VerifyAsync(Verify.VerifyLevel.Quick, [suspect.Id], EngineLab.Token);
        Assert.True(verified.Ok);
        Assert.Equal((suspect.Id, "vda"), (Assert.Single(verified.Doubtful).Point, verified.Doubtful[0].Disk));
        var options = new Restore.RestoreOptions { Folder = lab.PathOf("doubted"), Format = "raw" };
        var restored = await Restore.RestoreRun.RunAsync(lab.Repository, null, suspect, options, _ => { }, EngineLab.Token);
        Assert.Contains("may lack changes", Assert.Single(restored.Warnings), StringComparison.Ordinal);
    }

    // The point that found it is deleted, a suspect is brought back, and both are copied, together and alone.
    private static async Task AssertMarksOutliveAsync(EngineLab lab, PointInfo suspect, PointInfo healed)
    {
        await RepositorySession.InitAsync(lab.PathOf("alone"), null, allowSingleWriter: false, EngineLab.Token);
        await using var alone = await RepositorySession.OpenAsync(lab.PathOf("alone"), new RepositoryAccess(null, null), EngineLab.Token);
        await CopyRun.RunAsync(lab.Repository, alone, [suspect], _ => { }, EngineLab.Token);
        Assert.NotNull(Assert.Single((await alone.PointsAsync(EngineLab.Token)).Points).Disks[0].Doubt);

        var care = new RepositoryCare(lab.Repository, TimeProvider.System);
        await care.ForgetAsync([healed, suspect], [], EngineLab.Token);
        await care.UndoAsync(suspect, EngineLab.Token);
        var listed = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal(3, listed.Count(point => point.Disks[0].Doubt is not null));
        Assert.Single(listed, point => point.Disks[0].Doubt is not null && point.Time == suspect.Time && point.Id != suspect.Id);
        await AssertMarksOutliveAllThatToldAsync(lab, care, healed);

        listed = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;

        await RepositorySession.InitAsync(lab.PathOf("all"), null, allowSingleWriter: false, EngineLab.Token);
        await using var all = await RepositorySession.OpenAsync(lab.PathOf("all"), new RepositoryAccess(null, null), EngineLab.Token);
        await CopyRun.RunAsync(lab.Repository, all, [], _ => { }, EngineLab.Token);
        Assert.Equal(
            listed.Select(point => (point.Time, point.Disks[0].Doubt)).Order(),
            (await all.PointsAsync(EngineLab.Token)).Points.Select(point => (point.Time, point.Disks[0].Doubt)).Order());
    }

    private static async Task AssertMarksOutliveAllThatToldAsync(EngineLab lab, RepositoryCare care, PointInfo healed)
    {
        var before = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        var (told, stay) = (before.Where(point => point.Time >= healed.Time).ToList(), before.Where(point => point.Time < healed.Time));
        Assert.NotEmpty(told);
        await care.ForgetAsync(told, [], EngineLab.Token);
        await using var fresh = await lab.OpenRepositoryAsync();
        var after = (await fresh.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal(
            stay.Select(point => (point.Id, point.Disks[0].Doubt)), after.Select(point => (point.Id, point.Disks[0].Doubt)));
        Assert.Equal(3, after.Count(point => point.Disks[0].Doubt is not null));
    }

    [Fact]
    public async Task OneOfTwoBitmapsLies_OnlyThatDiskIsReadInFull_AndMarked()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "audit-two", new LabDisk("vda", Chunks * Chunk), new LabDisk("vdb", Chunks * Chunk));
        foreach (var disk in machine.Disks)
            await machine.WriteAsync(disk, 0, Chunks * Chunk, 0x11, EngineLab.Token);
        await lab.BackUpAsync(machine, Audit(0));
        await machine.WriteAsync("vda", 20 * Chunk, Chunk, 0x12, EngineLab.Token);
        await ClearBitmapAsync(machine); // vda's
        await machine.WriteAsync("vdb", 30 * Chunk, Chunk, 0x13, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var wrong = await lab.BackUpAsync(machine, Audit(0));
        Assert.All(wrong.Disks, disk => Assert.Equal("incremental", disk.Mode));

        await machine.WriteAsync("vda", 40 * Chunk, Chunk, 0x14, EngineLab.Token);
        await machine.WriteAsync("vdb", 41 * Chunk, 2 * Chunk, 0x15, EngineLab.Token);
        var now = await EngineLab.TruthAsync(machine);
        lab.Events.Clear();
        var healed = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal(["full", "incremental"], healed.Disks.Select(disk => disk.Mode));
        Assert.Contains("calls them unchanged", healed.Disks[0].Reason, StringComparison.Ordinal);
        Assert.InRange(healed.Disks[0].ReadBytes, Chunks * Chunk, 2 * Chunks * Chunk);
        Assert.Equal(2 * Chunk, healed.Disks[1].ReadBytes);
        Assert.Single(lab.Events.OfType<StepReached>(), reached => reached.Step == RunStep.Begun);
        await lab.AssertRestoresAsync(healed, now);

        var marked = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal(
            [(wrong.Id, "vda")],
            marked.SelectMany(point => point.Disks.Where(disk => disk.Doubt is not null).Select(disk => (point.Id, disk.Name))));
        var restored = await lab.RestoreAsync(wrong);
        Assert.NotEqual(truth["vda"], await File.ReadAllBytesAsync(restored["vda"], EngineLab.Token));
        Assert.Equal(truth["vdb"], await File.ReadAllBytesAsync(restored["vdb"], EngineLab.Token));
        var next = await lab.BackUpAsync(machine, Audit(100));
        Assert.All(next.Disks, disk => Assert.Equal(("incremental", 0L), (disk.Mode, disk.ReadBytes)));
        await lab.AssertRestoresAsync(next, now);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task NothingFound_LeavesTheRunIncremental_AndCostsItsShare()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "honest");
        await lab.BackUpAsync(machine, Audit(10));
        for (var run = 1; run <= 11; run++)
        {
            await machine.WriteAsync("vda", run * 5 * Chunk, Chunk, (byte)run, EngineLab.Token);
            var truth = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine, Audit(10));
            Assert.Equal(("incremental", Chunk), (point.Disks[0].Mode, point.Disks[0].ReadBytes));
            Assert.InRange(point.Disks[0].AuditedBytes, Chunk, (7 + AuditedChunks.MostWitnesses) * Chunk);
            await lab.AssertRestoresAsync(point, truth);
        }

        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task LieInAChunkThatChangedLately_IsFoundAtOnce_EvenWithoutAudit()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "witness");
        await lab.BackUpAsync(machine, Audit(0));
        await machine.WriteAsync("vda", 11 * Chunk, Chunk, 0x21, EngineLab.Token);
        await lab.BackUpAsync(machine, Audit(0));
        await machine.WriteAsync("vda", 11 * Chunk, Chunk, 0x22, EngineLab.Token);
        await ClearBitmapAsync(machine);
        var truth = await EngineLab.TruthAsync(machine);
        lab.Events.Clear();
        var healed = await lab.BackUpAsync(machine, Audit(0));
        AssertHealed(healed);
        Assert.Single(lab.Events.OfType<StepReached>(), reached => reached.Step == RunStep.Begun); // frozen once
        await lab.AssertRestoresAsync(healed, truth);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task DiskWithADataFile_IsTracked_AndWritesBehindQemusBackAreFoundAndHealed()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (machine, data) = await StartWithDataFileAsync("behind");
        await lab.BackUpAsync(machine, Audit(100));
        await machine.WriteAsync("vda", 3 * Chunk, Chunk, 0x51, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var point = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal(("incremental", Chunk), (point.Disks[0].Mode, point.Disks[0].ReadBytes));
        await lab.AssertRestoresAsync(point, truth);

        Overwrite(data, 30 * Chunk + 77, 0x52); // while it runs
        truth = await EngineLab.TruthAsync(machine);
        var healed = await lab.BackUpAsync(machine, Audit(100));
        AssertHealed(healed);
        await lab.AssertRestoresAsync(healed, truth);

        await machine.StopAsync(EngineLab.Token);
        Overwrite(data, 50 * Chunk, 0x53); // while it is off
        await machine.StartAsync(EngineLab.Token);
        truth = await EngineLab.TruthAsync(machine);
        healed = await lab.BackUpAsync(machine, Audit(100));
        AssertHealed(healed);
        await lab.AssertRestoresAsync(healed, truth);
        var next = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal(("incremental", 0L), (next.Disks[0].Mode, next.Disks[0].ReadBytes));
        await lab.AssertRestoresAsync(next, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task DataFilePutBackToAnOlderState_IsNoticedWhateverItsTime()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (machine, data) = await StartWithDataFileAsync("older");
        await lab.BackUpAsync(machine, Audit(0));
        await machine.StopAsync(EngineLab.Token);
        var old = data + ".old";
        File.Copy(data, old);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 12 * Chunk, 2 * Chunk, 0x61, EngineLab.Token);
        Assert.Equal("incremental", (await lab.BackUpAsync(machine, Audit(0))).Disks[0].Mode);

        foreach (var (keepsTime, reason) in new[] { (true, "older than at the last backup"), (false, "calls them unchanged") })
        {
            await machine.StopAsync(EngineLab.Token);
            File.Copy(old, data, overwrite: true); // into the same file
            File.SetLastWriteTimeUtc(data, keepsTime ? File.GetLastWriteTimeUtc(old) : DateTime.UtcNow);
            await machine.StartAsync(EngineLab.Token);
            var truth = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine, Audit(0));
            Assert.Equal("full", point.Disks[0].Mode);
            Assert.Contains(reason, point.Disks[0].Reason, StringComparison.Ordinal);
            await lab.AssertRestoresAsync(point, truth);
            await machine.WriteAsync("vda", 12 * Chunk, 2 * Chunk, 0x62, EngineLab.Token);
            truth = await EngineLab.TruthAsync(machine);
            point = await lab.BackUpAsync(machine, Audit(0));
            Assert.Equal("incremental", point.Disks[0].Mode);
            await lab.AssertRestoresAsync(point, truth);
        }

        await machine.StopAsync(EngineLab.Token);
        File.Move(data, data + ".moved");
        File.Copy(data + ".moved", data);
        fixture.Host.GiveToQemu(data);
        await machine.StartAsync(EngineLab.Token);
        Assert.Contains("another data file", (await lab.BackUpAsync(machine, Audit(0))).Disks[0].Reason, StringComparison.Ordinal);
        await machine.StopAsync(EngineLab.Token);
    }

    // The bitmaps lie in the image: put back to an older state, it either knows what differs from the last backup, or no bitmap fits.
    [Fact]
    public async Task ImagePutBackToAnOlderState_IsExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "putback");
        await lab.BackUpAsync(machine, Audit(0));
        await machine.WriteAsync("vda", 3 * Chunk, Chunk, 0x71, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        var old = machine.ImagePath("vda") + ".old";
        File.Copy(machine.ImagePath("vda"), old);
        foreach (var backUp in (bool[])[false, true])
        {
            await machine.StartAsync(EngineLab.Token);
            await machine.WriteAsync("vda", 9 * Chunk, 2 * Chunk, 0x72, EngineLab.Token);
            if (backUp)
                await lab.BackUpAsync(machine, Audit(0));
            await machine.StopAsync(EngineLab.Token);
            File.Copy(old, machine.ImagePath("vda"), overwrite: true);
            await machine.StartAsync(EngineLab.Token);
            var truth = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine, Audit(0));
            Assert.Equal(backUp ? "full" : "incremental", point.Disks[0].Mode);
            await lab.AssertRestoresAsync(point, truth);
            await machine.StopAsync(EngineLab.Token);
            File.Copy(machine.ImagePath("vda"), old, overwrite: true);
        }
    }

    private async Task<LabMachine> StartAsync(EngineLab lab, string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, $"audit-{name}", new LabDisk("vda", Chunks * Chunk));
        var bytes = new byte[Chunks * Chunk];
        new Random(lab.GetHashCode()).NextBytes(bytes);
        await machine.WriteBytesAsync("vda", 0, bytes, EngineLab.Token);
        return machine;
    }

    private async Task<(LabMachine Machine, string DataFile)> StartWithDataFileAsync(string name)
    {
        var data = Path.Combine(fixture.Host.Folder, $"audit-{name}.data");
        var disk = new LabDisk("vda", Chunks * Chunk) { CreateOptions = $"data_file={data},data_file_raw=on" };
        var machine = await LabMachine.DefineAsync(
            fixture.Host, $"audit-{name}", new LabMachineOptions { Start = false }, [disk], EngineLab.Token);
        fixture.Host.GiveToQemu(data); // libvirt knows nothing of this file
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 0, Chunks * Chunk, 0x50, EngineLab.Token);
        return (machine, data);
    }

    private static BackupOptions Audit(int percent) =>
        new() { Audit = AuditBudget.OfPercent(percent), ChunkLog2 = 16, Quiesce = Machines.Quiesce.Off };

    private static void AssertHealed(PointInfo point)
    {
        var disk = Assert.Single(point.Disks);
        Assert.Equal("full", disk.Mode);
        Assert.Contains("calls them unchanged", disk.Reason, StringComparison.Ordinal);
        Assert.Contains(point.Warnings, warning => warning.Contains("was read in full", StringComparison.Ordinal));
        Assert.Equal(point.Time, disk.CoveredSince);
    }

    // Writes one chunk of [from, to) that no run looks at for another reason than its window, and takes the bitmap's knowledge of it.
    private static async Task LieAsync(EngineLab lab, LabMachine machine, int from, int to)
    {
        var newest = (await lab.Repository.PointsOfAsync(machine.Domain.Uuid.ToString("d"), EngineLab.Token))[^1];
        var witnesses = newest.Disk("vda").Audit!.Witnesses;
        var chunk = Enumerable.Range(from, to - from).First(chunk => !witnesses.Contains(chunk));
        await machine.WriteAsync("vda", chunk * Chunk, 512, 0x99, EngineLab.Token);
        await ClearBitmapAsync(machine);
    }

    private static async Task ClearBitmapAsync(LabMachine machine)
    {
        var name = Assert.Single(await EngineLab.CheckpointsAsync(machine));
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", EngineLab.Token)).EnumerateArray()
            .First(device => device.GetProperty("qdev").GetString()!.Contains("virtio-disk0", StringComparison.Ordinal))
            .GetProperty("inserted").GetProperty("node-name").GetString();
        await machine.QmpAsync(
            $$$"""{"execute":"block-dirty-bitmap-clear","arguments":{"node":"{{{node}}}","name":"{{{name}}}"}}""", EngineLab.Token);
    }

    private static void Overwrite(string file, long offset, byte value)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        stream.Seek(offset, SeekOrigin.Begin);
        stream.WriteByte(value);
    }
}
