// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Libvirt.Tests;

/// <summary>Pull backups and checkpoints, with contents read over NBD.</summary>
public sealed class BackupTests(HostFixture fixture)
{
    private const long Mebibyte = 1 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task FullThenIncremental_ExportsTheInstantAndWhatChanged()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "inc", new LabDisk("vda", 4 * Mebibyte), new LabDisk("vdb", 2 * Mebibyte));
        var frozen = new FrozenMachine(machine);
        await machine.WriteAsync("vda", 0, Mebibyte, 0x11, Token);
        await machine.WriteAsync("vdb", 0, Mebibyte, 0x22, Token);
        using var events = await fixture.Host.Connection.SubscribeAsync(machine.Domain.Uuid, Token);

        var before = await machine.ReadDiskAsync("vda", Token);
        await frozen.BeginAsync("c1", [("vda", null), ("vdb", null)], Token);
        await machine.WriteAsync("vda", 0, 65_536, 0x33, Token);
        Assert.Equal(before, await frozen.ReadExportAsync("vda", Token));
        var job = await machine.Domain.GetJobStatsAsync(cancellationToken: Token);
        Assert.Equal((JobType.Unbounded, JobOperation.Backup, true), (job.Type, job.Operation, job.IsActive));
        Assert.Equal(6 * Mebibyte, job.ScratchTotal);
        Assert.True(job.ScratchUsed >= 65_536);
        Assert.NotNull(job.Elapsed);
        await machine.Domain.AbortJobAsync(Token);
        var completed = await events.WaitForAsync<JobCompletedEvent>(Patience, cancellationToken: Token);
        Assert.Equal((true, JobOperation.Backup), (completed.Stats.Success, completed.Stats.Operation));
        Assert.Equal(JobType.None, (await machine.Domain.GetJobStatsAsync(cancellationToken: Token)).Type);

        var instant = await machine.ReadDiskAsync("vda", Token);
        await frozen.BeginAsync("c2", [("vda", "c1"), ("vdb", null)], Token);
        Assert.Equal([(0, 65_536)], await frozen.ReadDirtyAsync("vda", Token));
        Assert.Equal(instant, await frozen.ReadExportAsync("vda", Token));
        await machine.Domain.AbortJobAsync(Token);
        await events.WaitForAsync<BlockJobEvent>(
            Patience, ended => ended is { Type: BlockJobType.Backup, Status: BlockJobStatus.Canceled }, Token);
        Assert.Equal(["c1", "c2"], await machine.Domain.ListCheckpointsAsync(Token));
    }

    [Fact]
    public async Task BackupXmlOfARunningJob_TellsTheScratchIndex_AndItsThresholdFires()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "threshold", new LabDisk("vda", 4 * Mebibyte));
        var frozen = new FrozenMachine(machine);
        await machine.WriteAsync("vda", 0, 4 * Mebibyte, 0x11, Token);
        using var events = await fixture.Host.Connection.SubscribeAsync(machine.Domain.Uuid, Token);
        await frozen.BeginAsync(null, [("vda", null)], Token);

        var disk = Assert.Single(BackupXml.Read(await machine.Domain.GetBackupXmlAsync(Token)).Disks);
        Assert.Equal(frozen.ScratchPath("vda"), disk.Scratch?.Path);
        Assert.NotNull(disk.ScratchIndex);
        var node = $"vda[{disk.ScratchIndex}]";
        await machine.Domain.SetBlockThresholdAsync(node, Mebibyte, Token);
        await machine.WriteAsync("vda", 0, 3 * Mebibyte, 0x22, Token);

        var fired = await events.WaitForAsync<BlockThresholdEvent>(Patience, cancellationToken: Token);
        Assert.Equal((node, Mebibyte), (fired.Device, fired.Threshold));
        Assert.Equal(frozen.ScratchPath("vda"), fired.Path);
        await machine.Domain.AbortJobAsync(Token);
    }

    [Fact]
    public async Task NoJob_AbortAndXmlAreRefused()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "jobless", new LabDisk("vda", Mebibyte));

        var abort = await Assert.ThrowsAsync<LibvirtException>(() => machine.Domain.AbortJobAsync(Token));
        var xml = await Assert.ThrowsAsync<LibvirtNotFoundException>(() => machine.Domain.GetBackupXmlAsync(Token));

        Assert.Equal(LibvirtErrorCode.OperationInvalid, abort.Code);
        Assert.Equal(LibvirtErrorCode.NoBackup, xml.Code);
    }

    [Fact]
    public async Task UnknownBase_ThrowsNotFound()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "baseless", new LabDisk("vda", Mebibyte));

        var exception = await Assert.ThrowsAsync<LibvirtNotFoundException>(
            () => new FrozenMachine(machine).BeginAsync("c1", [("vda", "never")], Token));

        Assert.Equal(LibvirtErrorCode.NoCheckpoint, exception.Code);
        Assert.Empty(await machine.Domain.ListCheckpointsAsync(Token));
    }

    [Fact]
    public async Task KilledQemu_FailsTheJobAndLeavesTheCheckpointInconsistent()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "killed", new LabDisk("vda", Mebibyte));
        var frozen = new FrozenMachine(machine);
        using var events = await fixture.Host.Connection.SubscribeAsync(machine.Domain.Uuid, Token);
        await frozen.BeginAsync("c1", [("vda", null)], Token);

        await machine.KillAsync(Token);
        var completed = await events.WaitForAsync<JobCompletedEvent>(Patience, cancellationToken: Token);
        Assert.False(completed.Stats.Success);
        await machine.StartAsync(Token);
        Assert.Equal(["c1"], await machine.Domain.ListCheckpointsAsync(Token));
        var exception = await Assert.ThrowsAsync<LibvirtException>(() => frozen.BeginAsync("c2", [("vda", "c1")], Token));

        Assert.Equal(LibvirtErrorCode.CheckpointInconsistent, exception.Code);
        Assert.Equal(["c1"], await machine.Domain.ListCheckpointsAsync(Token));
        await machine.Domain.DeleteCheckpointAsync("c1", CheckpointDeleteFlags.MetadataOnly, Token);
        Assert.Empty(await machine.Domain.ListCheckpointsAsync(Token));
    }

    [Fact]
    public async Task Checkpoints_AreListedDeletedAndRedefined()
    {
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "points", new LabDisk("vda", Mebibyte), new LabDisk("vdb", Mebibyte) { Format = "raw" });
        var domain = machine.Domain;
        string[] names = ["z", "m", "a"];
        foreach (var name in names)
        {
            var disks = new[] { new CheckpointDisk("vda", true), new CheckpointDisk("vdb", false) };
            var xml = CheckpointXml.Write(new CheckpointDescription(name, disks));
            Assert.Equal(name, await domain.CreateCheckpointAsync(xml, cancellationToken: Token));
            await machine.WriteAsync("vda", 0, 65_536, 1, Token);
        }
        Assert.Equal(names, await domain.ListCheckpointsAsync(Token));
        Assert.Equal("m", await domain.GetCheckpointParentAsync("a", Token));
        Assert.Null(await domain.GetCheckpointParentAsync("z", Token));
        var sized = CheckpointXml.Read(
            await domain.GetCheckpointXmlAsync("z", CheckpointXmlFlags.NoDomain | CheckpointXmlFlags.Size, Token));
        Assert.Equal([new CheckpointDisk("vda", true, 65_536), new CheckpointDisk("vdb", false)], sized.Disks);

        await domain.DeleteCheckpointAsync("m", cancellationToken: Token);
        Assert.Equal("z", await domain.GetCheckpointParentAsync("a", Token));
        Assert.False(await domain.HasCheckpointAsync("m", Token));
        await Assert.ThrowsAsync<LibvirtNotFoundException>(() => domain.DeleteCheckpointAsync("m", cancellationToken: Token));

        var kept = CheckpointXml.Read(await domain.GetCheckpointXmlAsync("a", cancellationToken: Token));
        Assert.Equal(("a", "z"), (kept.Name, kept.Parent));
        await domain.DeleteCheckpointAsync("a", CheckpointDeleteFlags.MetadataOnly, Token);
        const CheckpointCreateFlags Redefine = CheckpointCreateFlags.Redefine | CheckpointCreateFlags.Validate;
        await domain.CreateCheckpointAsync(CheckpointXml.Write(kept), Redefine, Token);
        Assert.Equal(["z", "a"], await domain.ListCheckpointsAsync(Token));
        Assert.True(await domain.HasCheckpointAsync("a", Token));
        var absent = await Assert.ThrowsAsync<LibvirtException>(
            () => domain.CreateCheckpointAsync(CheckpointXml.Write(kept with { Name = "m" }), Redefine, Token));
        Assert.Equal(LibvirtErrorCode.CheckpointInconsistent, absent.Code);

        await machine.StopAsync(Token);
        var undefine = await Assert.ThrowsAsync<LibvirtException>(() => domain.UndefineAsync(cancellationToken: Token));
        Assert.Equal(LibvirtErrorCode.OperationInvalid, undefine.Code);
        await domain.UndefineAsync(DomainUndefineFlags.CheckpointsMetadata, Token);
    }

    [Fact]
    public async Task DaemonRestartDuringABackup_KeepsTheJob()
    {
        await using var host = await LabHost.StartAsync(Token);
        var machine = await LabMachine.DefineAsync(host, "restart", new LabDisk("vda", Mebibyte));
        await machine.WriteAsync("vda", 0, Mebibyte, 0x5A, Token);
        var frozen = new FrozenMachine(machine);
        await frozen.BeginAsync("c1", [("vda", null)], Token);
        using var events = await host.Connection.SubscribeAsync(machine.Domain.Uuid, Token);

        await host.StopDaemonAsync(kill: true, Token);
        await host.StartDaemonAsync(Token);

        Assert.Equal((JobType.Unbounded, JobOperation.Backup), await JobOfAsync(machine.Domain));
        Assert.Equal(new byte[] { 0x5A, 0x5A }, (await frozen.ReadExportAsync("vda", Token))[^2..]);
        await machine.Domain.AbortJobAsync(Token);
        await events.WaitForAsync<JobCompletedEvent>(Patience, cancellationToken: Token);
        Assert.Equal(["c1"], await machine.Domain.ListCheckpointsAsync(Token));
    }

    private static async Task<(JobType Type, JobOperation Operation)> JobOfAsync(Domain domain)
    {
        var job = await domain.GetJobStatsAsync(cancellationToken: Token);
        return (job.Type, job.Operation);
    }
}

/// <summary>libvirt waits 30 s for the job lock; in a class of its own the wait runs beside the other tests.</summary>
public sealed class BusyTests(HostFixture fixture)
{
    /// <summary>
    /// Calls that shared a native connection with one that waits took 5 s each: libvirt's client wakes the thread that reads for all
    /// only sometimes.
    /// </summary>
    [Fact]
    public async Task SecondBackup_ThrowsBusyAndNobodyElseWaits()
    {
        var token = TestContext.Current.CancellationToken;
        var machine = await LabMachine.DefineAsync(fixture.Host, "busy", new LabDisk("vda", 1 << 20));
        var other = await LabMachine.DefineAsync(fixture.Host, "busy-other", new LabDisk("vda", 1 << 20));
        await new FrozenMachine(machine).BeginAsync("c1", [("vda", null)], token);

        var second = new FrozenMachine(machine, "second").BeginAsync("c2", [("vda", null)], token);
        var slowest = TimeSpan.Zero;
        while (!second.IsCompleted)
        {
            var clock = TimeProvider.System.GetTimestamp();
            await other.Domain.GetStatusAsync(token);
            var elapsed = TimeProvider.System.GetElapsedTime(clock);
            slowest = elapsed > slowest ? elapsed : slowest;
            await Task.Delay(50, token);
        }
        var exception = await Assert.ThrowsAsync<LibvirtBusyException>(() => second);

        Assert.Equal(LibvirtErrorCode.OperationTimeout, exception.Code);
        Assert.True(slowest < TimeSpan.FromSeconds(4), $"A call beside the waiting one took {slowest}.");
        Assert.True((await machine.Domain.GetJobStatsAsync(cancellationToken: token)).IsActive);
        await machine.Domain.AbortJobAsync(token);
    }
}
