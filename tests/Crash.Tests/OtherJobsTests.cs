// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Crash.Tests;

/// <summary>A backup is not alone on its machine, or the machine has disks that must not be touched.</summary>
public sealed class OtherJobsTests(HostFixture host)
{
    private const int Mebi = 1 << 20;
    private const int Busy = 4;

    [Fact]
    public async Task SecondBackupAtOnce_WaitsForTheFirst()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await LabMachine.DefineAsync(host.Host, "twice", new LabDisk("vda", 4 * Mebi));
        var (first, gate) = await lab.StartAndHoldAsync(machine);
        var second = lab.StartBackup(machine);
        await Task.Delay(2000, CrashLab.Token);
        Assert.False(second.HasExited);
        Assert.True((await machine.Domain.GetJobStatsAsync(cancellationToken: CrashLab.Token)).IsActive);
        File.Create(gate).Dispose();
        var outcomes = new[] { await CrashLab.EndOfAsync(first), await CrashLab.EndOfAsync(second) };
        Assert.All(outcomes, outcome => Assert.True(outcome.ExitCode == 0, $"{outcome}"));
        var points = await lab.PointsAsync(machine);
        Assert.Equal("full incremental", string.Join(' ', points.Select(point => point.Disks[0].Mode)));
        await lab.AssertCleanAsync(machine, points[^1]);
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task ForeignBackupJob_IsLeftAlone()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await LabMachine.DefineAsync(host.Host, "foreign", new LabDisk("vda", 4 * Mebi));
        var folder = host.Host.CreateFolder("foreign");
        var socket = Path.Combine(folder, "s");
        await machine.Domain.BeginBackupAsync(
            BackupXml.Write(new BackupDescription(socket, [new BackupDisk("vda", new BackupScratch(Path.Combine(folder, "scratch")))])),
            null,
            cancellationToken: CrashLab.Token);
        var outcome = await lab.BackUpAsync(machine);
        Assert.True(outcome.ExitCode == Busy, $"{outcome}");
        Assert.Equal(socket, BackupXml.Read(await machine.Domain.GetBackupXmlAsync(CrashLab.Token)).SocketPath);
        Assert.Empty(await machine.Domain.ListCheckpointsAsync(CrashLab.Token));
        await machine.Domain.AbortJobAsync(CrashLab.Token);
        outcome = await lab.BackUpAsync(machine);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task DeadRunOnAMachineWithAForeignJob_TheForeignJobIsLeftAlone()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await LabMachine.DefineAsync(host.Host, "mixed", new LabDisk("vda", 4 * Mebi));
        var died = await lab.DieAtAsync(machine, Engine.Runs.RunStep.Ended, withGuardian: true);
        Assert.True(died.ExitCode == CrashLab.Killed, $"{died}");
        var folder = host.Host.CreateFolder("mixed");
        var socket = Path.Combine(folder, "s");
        await machine.Domain.BeginBackupAsync(
            BackupXml.Write(new BackupDescription(socket, [new BackupDisk("vda", new BackupScratch(Path.Combine(folder, "scratch")))])),
            null,
            cancellationToken: CrashLab.Token);
        var outcome = await lab.BackUpAsync(machine);
        Assert.True(outcome.ExitCode == Busy, $"{outcome}");
        Assert.Equal(socket, BackupXml.Read(await machine.Domain.GetBackupXmlAsync(CrashLab.Token)).SocketPath);
        await machine.Domain.AbortJobAsync(CrashLab.Token);
        outcome = await lab.BackUpAsync(machine);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        await lab.AssertCleanAsync(machine, (await lab.PointsAsync(machine))[^1]);
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task SharedAndTransientDisks_AreLeftOutAndLibvirtdLives()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var daemon = host.Host.DaemonProcessId;
        var shared = new LabDisk("vdc", Mebi)
        {
            Format = "raw", IsShareable = true, Path = Path.Combine(host.Host.Folder, "shared.raw"),
        };
        var transient = new LabDisk("vdd", Mebi) { IsTransient = true };
        var other = await LabMachine.DefineAsync(host.Host, "sharing", shared);
        var machine = await LabMachine.DefineAsync(
            host.Host, "shared", new LabDisk("vda", 4 * Mebi), shared, transient, new LabDisk("vdb", 4 * Mebi));
        await machine.WriteAsync("vdb", Mebi, Mebi, 9, CrashLab.Token);
        var truth = await machine.ReadDiskAsync("vdb", CrashLab.Token);
        var outcome = await lab.BackUpAsync(machine);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        var point = Assert.Single(await lab.PointsAsync(machine));
        Assert.Equal("vda vdb", string.Join(' ', point.Disks.Select(disk => disk.Name).Order(StringComparer.Ordinal)));
        Assert.Equal("vdc vdd", string.Join(' ', point.NotProtected.Select(disk => disk.Name).Order(StringComparer.Ordinal)));
        await lab.AssertCleanAsync(machine, point);
        await lab.AssertRestoresAsync(point, "vdb", truth);
        Assert.Equal(daemon, host.Host.DaemonProcessId);
        Assert.True(host.Host.Connection.IsAlive);
        await machine.StopAsync(CrashLab.Token);
        await other.StopAsync(CrashLab.Token);
    }
}
