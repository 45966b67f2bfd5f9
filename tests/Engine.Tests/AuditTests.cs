// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Care;
using Tidemark.Engine.Copy;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;
using Tidemark.Lab;
using static Tidemark.Engine.Tests.AuditedDisk;

namespace Tidemark.Engine.Tests;

/// <summary>
/// Bitmaps that lie: an audit finds it, the disk is whole again in the same run, and earlier points say that they may lack changes.
/// </summary>
public sealed class AuditTests(LabFixture fixture)
{
    private const int Quarter = Chunks / 4;

    [Fact]
    public async Task ClearedBitmap_IsFoundByAnAuditOfEverything_AndTheDiskIsWholeInTheSameRun()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(fixture, "cleared");
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
        var machine = await StartAsync(fixture, "rotation");
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
        await LieAsync(lab, machine, 2, Quarter); // vda's
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

    /// <summary>
    /// The run that found out was of the stopped machine, so the bitmap that lies is still there; and then its point is deleted. What is
    /// left as the newest point is known to be doubtful, and its bitmap to be no good.
    /// </summary>
    [Fact]
    public async Task NewestPointIsDoubtful_IsNoBase()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(fixture, "doubtful");
        await lab.BackUpAsync(machine, Audit(0));
        await LieAsync(lab, machine, 2, Quarter);
        await machine.WriteAsync("vda", 50 * Chunk, Chunk, 0x17, EngineLab.Token);
        var wrong = await lab.BackUpAsync(machine, Audit(0));
        Assert.Equal("incremental", wrong.Disks[0].Mode);
        await machine.StopAsync(EngineLab.Token);
        var found = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal("full", found.Disks[0].Mode);
        await new RepositoryCare(lab.Repository, TimeProvider.System).ForgetAsync([found], [], EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);

        var truth = await EngineLab.TruthAsync(machine);
        var next = await lab.BackUpAsync(machine, Audit(0));
        Assert.Equal("full", next.Disks[0].Mode);
        Assert.Contains("the last backup may lack changes", next.Disks[0].Reason, StringComparison.Ordinal);
        await lab.AssertRestoresAsync(next, truth);
        var listed = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal([wrong.Id], listed.Where(point => point.Disks[0].Doubt is not null).Select(point => point.Id));
        Assert.Equal("incremental", (await lab.BackUpAsync(machine, Audit(0))).Disks[0].Mode);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task NothingFound_LeavesTheRunIncremental_AndCostsItsShare()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(fixture, "honest");
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
        var machine = await StartAsync(fixture, "witness");
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
}
