// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using Tidemark.Engine.Repositories;
using Tidemark.Lab;
using Tidemark.Storage;

namespace Tidemark.Engine.Tests;

/// <summary>Points that someone else put into a machine's history: they never become what the next backup inherits from.</summary>
public sealed class ForgedPointTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData("claims the checkpoint")]
    [InlineData("names none")]
    public async Task NewestPointOfAnotherHost_IsNoBase(string how)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, how == "names none" ? "forged1" : "forged2", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 0x31, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var first = await lab.BackUpAsync(machine);
        await ForgeAsync(lab, machine, how == "claims the checkpoint");
        var second = await lab.BackUpAsync(machine);
        var disk = Assert.Single(second.Disks);
        Assert.Equal("full", disk.Mode);
        Assert.Equal(first.Disks[0].Root, disk.Root);
        await lab.AssertRestoresAsync(second, truth);
        await lab.AssertRestoresAsync(first, truth);
        var third = await lab.BackUpAsync(machine);
        Assert.Equal("incremental", third.Disks[0].Mode);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task CopiedPoint_IsNoBase() // I22
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "copied", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", Mebi, Mebi, 0x32, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var first = await lab.BackUpAsync(machine);
        var folder = lab.PathOf("second");
        await RepositorySession.InitAsync(folder, null, false, EngineLab.Token);
        await using var second = await RepositorySession.OpenAsync(folder, new RepositoryAccess(null, null), EngineLab.Token);
        var summary = await Copy.CopyRun.RunAsync(lab.Repository, second, [], _ => { }, EngineLab.Token);
        var copy = Assert.Single(summary.Copied);
        Assert.Equal((first.Seq, first.Time), (copy.Seq, copy.Time));
        Assert.Equal(lab.Repository.Part, copy.CopiedFrom![..8]);
        Assert.Equal(1, (await Copy.CopyRun.RunAsync(lab.Repository, second, [first], _ => { }, EngineLab.Token)).AlreadyThere);
        var point = await Backup.BackupRun.RunAsync(
            lab.Context() with { Repository = second }, machine.Domain.Uuid.ToString("d"), new Backup.BackupOptions(), EngineLab.Token);
        Assert.Equal("full", point.Disks[0].Mode);
        Assert.Equal("first backup of this disk in this repository", point.Disks[0].Reason);
        Assert.Equal(copy.Disks[0].Root, point.Disks[0].Root);
        Assert.Equal(0, point.Disks[0].StoredBytes);

        // The first repository's lineage goes on undisturbed.
        var next = await lab.BackUpAsync(machine);
        Assert.Equal("incremental", next.Disks[0].Mode);
        await lab.AssertRestoresAsync(next, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    // A point that made no checkpoint of its own leads to the one it names as its base, and nothing of it is inherited.
    [Fact]
    public async Task NewestPointThatNamesAnHonestBase_IsNotInheritedFrom()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "forged3", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 0x31, EngineLab.Token);
        var first = await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", Mebi, 4096, 0x32, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        await ForgeAsync(lab, machine, claimsCheckpoint: false, asIncremental: true);
        var second = await lab.BackUpAsync(machine);
        Assert.Equal("incremental", second.Disks[0].Mode);
        Assert.Equal(Mebi / 4, second.Disks[0].ReadBytes);
        await lab.AssertRestoresAsync(second, truth);
        Assert.NotEqual(first.Disks[0].Root, second.Disks[0].Root);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task TagTwiceAndRunOfTwoMachines_StopNobody()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using (var store = new FolderStore(lab.RepositoryFolder))
        {
            var key = Credentials.FromKeyFile(await File.ReadAllTextAsync(lab.KeyFile, EngineLab.Token));
            using var hostile = await Repository.OpenAsync(store, key, new OpenOptions { Writer = new WriterId(66) }, EngineLab.Token);
            var options = new BackupRunOptions { Id = RunId.New() };
            foreach (var machine in new[] { "one", "two" })
            {
                await using var run = await hostile.BeginRunAsync(new MachineId(machine), options, EngineLab.Token);
                await run.CommitAsync(
                    new RestorePointDraft { Name = machine, Time = DateTimeOffset.UnixEpoch, Tags = ["a=1", "b", "a=2"], Disks = [] },
                    EngineLab.Token);
            }
        }

        var points = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal(["one", "two"], points.Select(point => point.Machine).Order());
        Assert.All(points, point => Assert.Equal(("2", ""), (point.Tags["a"], point.Tags["b"])));
        var care = new Care.RepositoryCare(lab.Repository, TimeProvider.System);
        var pruned = await care.PruneAsync(new Care.RetentionPolicy { Last = 1 }, [], dryRun: true, EngineLab.Token);
        Assert.Equal(2, pruned.Points.Count);
    }

    // What a host with the key can write: a newer point of the machine, all its disks zero, that says what the honest one says.
    private static async Task ForgeAsync(EngineLab lab, LabMachine machine, bool claimsCheckpoint, bool asIncremental = false)
    {
        await using var store = new FolderStore(lab.RepositoryFolder);
        var key = Credentials.FromKeyFile(await File.ReadAllTextAsync(lab.KeyFile, EngineLab.Token));
        using var hostile = await Repository.OpenAsync(store, key, new OpenOptions { Writer = new WriterId(66) }, EngineLab.Token);
        var id = new MachineId(machine.Domain.Uuid.ToString("d"));
        var honest = (await hostile.ListPointsAsync(id, EngineLab.Token)).Points[0];
        await using var run = await hostile.BeginRunAsync(id, new BackupRunOptions(), EngineLab.Token);
        var disk = run.OpenDisk("vda", honest.Disk("vda").Size, honest.Disk("vda").ChunkLog2, null);
        var buffer = MemoryPool<byte>.Shared.Rent(disk.ChunkSize);
        buffer.Memory.Span.Fill(0x66);
        await disk.WriteAsync(0, buffer, EngineLab.Token);
        var details = claimsCheckpoint ? honest.Disk("vda") : honest.Disk("vda") with { Checkpoint = null };
        if (asIncremental)
            details = details with { Mode = "incremental", Base = honest.Id.Value.ToString("n") };
        await run.CommitAsync(
            new RestorePointDraft
            {
                Name = honest.Name,
                Uuid = honest.Uuid,
                Time = honest.Time,
                Disks = [new DraftDisk(await disk.FinishAsync(EngineLab.Token), details)],
            },
            EngineLab.Token);
    }
}
