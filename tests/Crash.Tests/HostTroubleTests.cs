// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Lab;

namespace Tidemark.Crash.Tests;

/// <summary>What is around a backup breaks in the middle of it: libvirtd, QEMU, the machine.</summary>
public sealed class HostTroubleTests(HostFixture host)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task LibvirtdRestarted_TheRunEndsRight(bool killed)
    {
        await using var own = await LabHost.StartAsync(CrashLab.Token);
        await using var lab = await CrashLab.CreateAsync(own);
        var machine = await DefineAsync(own, "restarted");
        await SucceedAsync(lab, machine);
        await machine.WriteAsync("vda", Mebi, Mebi, 2, CrashLab.Token);
        var truth = await TruthAsync(machine);
        var (backup, gate) = await lab.StartAndHoldAsync(machine);
        await own.StopDaemonAsync(killed, CrashLab.Token);
        await own.StartDaemonAsync(CrashLab.Token);
        File.Create(gate).Dispose();
        var outcome = await CrashLab.EndOfAsync(backup);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        var newest = (await lab.PointsAsync(machine))[^1];
        await lab.AssertCleanAsync(machine, newest);
        await AssertExactAsync(lab, newest, truth);
        Assert.All(newest.Disks, disk => Assert.Equal("incremental", disk.Mode));
        await NextRunIsRightAsync(lab, machine, "incremental");
    }

    /// <summary>QEMU's word of its scratch files goes to a daemon that is not there, and is never said again.</summary>
    [Fact]
    public async Task ScratchFilledWhileLibvirtdWasAway_VoidsTheRun()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "A file system of a few megabytes can only be mounted by root.");
        await using var own = await LabHost.StartAsync(CrashLab.Token);
        await using var lab = await CrashLab.CreateAsync(own);
        var machine = await DefineAsync(own, "unheard");
        var scratch = own.CreateFolder("unheard");
        await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=711", "tmpfs", scratch], CrashLab.Token);
        try
        {
            var (backup, gate) = await lab.StartAndHoldAsync(machine, scratch);
            await own.StopDaemonAsync(kill: false, CrashLab.Token);
            var left = new DriveInfo(scratch).AvailableFreeSpace;
            await File.WriteAllBytesAsync(Path.Combine(scratch, "filler"), new byte[left - (100 << 10)], CrashLab.Token);
            await own.StartDaemonAsync(CrashLab.Token);
            await Task.Delay(3000, CrashLab.Token);
            File.Create(gate).Dispose();
            var outcome = await CrashLab.EndOfAsync(backup);
            Assert.True(outcome.ExitCode == 1 && outcome.Error.Contains("nearly full", StringComparison.Ordinal), $"{outcome}");
            Assert.Empty(await lab.PointsAsync(machine));
        }
        finally
        {
            await Tool.RunAsync("umount", ["-l", scratch], CancellationToken.None);
        }

        await NextRunIsRightAsync(lab, machine, "full");
    }

    [Fact]
    public async Task QemuThatAnswersNothing_FailsAfterALimit_AndIsBackedUpWhenItAnswersAgain()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await DefineAsync(host.Host, "stuck");
        await SucceedAsync(lab, machine);
        machine.Halt();
        Outcome outcome;
        try
        {
            var started = System.Diagnostics.Stopwatch.GetTimestamp();
            outcome = await lab.BackUpAsync(machine);
            Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(started).TotalSeconds, 50, 110);
        }
        finally
        {
            machine.GoOn();
        }

        Assert.True(outcome.ExitCode == 1 && outcome.Error.Contains("'stuck' did not answer", StringComparison.Ordinal), $"{outcome}");
        await NextRunIsRightAsync(lab, machine, "incremental");
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task LibvirtdAwayUntilTheRunHasFailed_TheGuardianCleansUpWhenItIsBack()
    {
        await using var own = await LabHost.StartAsync(CrashLab.Token);
        await using var lab = await CrashLab.CreateAsync(own);
        var machine = await DefineAsync(own, "away");
        await SucceedAsync(lab, machine);
        var (backup, gate) = await lab.StartAndHoldAsync(machine);
        await own.StopDaemonAsync(kill: true, CrashLab.Token);
        CrashLab.Kill(backup.Id);
        File.Create(gate).Dispose();
        await CrashLab.EndOfAsync(backup);
        await Task.Delay(1000, CrashLab.Token);
        await own.StartDaemonAsync(CrashLab.Token);
        await lab.AssertNothingStaysAsync(machine, System.Diagnostics.Stopwatch.GetTimestamp(), journal: true);
        await NextRunIsRightAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task DeathBetweenTheHooks_TheGuardianRunsTheSecondOnes()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await DefineAsync(host.Host, "hooks");
        var (backup, gate) = await lab.StartAndHoldAsync(machine);
        var log = gate[..^".over".Length];
        CrashLab.Kill(backup.Id);
        var died = System.Diagnostics.Stopwatch.GetTimestamp();
        while ((await File.ReadAllTextAsync(log, CrashLab.Token)).Length < 2)
        {
            Assert.True(System.Diagnostics.Stopwatch.GetElapsedTime(died) < TimeSpan.FromSeconds(30), "No second hook was begun.");
            await Task.Delay(50, CrashLab.Token);
        }

        File.Create(gate).Dispose();
        await CrashLab.EndOfAsync(backup);
        await lab.AssertNothingStaysAsync(machine, died, journal: true);
        await NextRunIsRightAsync(lab, machine, "full");
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task PrivilegedHost_ScratchGoesToQemusUserWhateverOthersSayOfThemselves()
    {
        if (await LabHost.WhySystemUnavailableAsync(CrashLab.Token) is { } reason)
            Assert.Skip(reason);
        await using var own = await LabHost.StartSystemAsync(CrashLab.Token);
        await using var lab = await CrashLab.CreateAsync(own);
        var machine = await DefineAsync(own, "owned");
        using var liar = System.Diagnostics.Process.Start(
            "setpriv",
            ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "sleep 60 & wait", "-uuid", $"{machine.Domain.Uuid}"]);
        var (backup, gate) = await lab.StartAndHoldAsync(machine);
        var folder = Assert.Single(Directory.GetFileSystemEntries(lab.Folders.Scratch));
        var owner = (await Tool.RunAsync("stat", ["-c", "%u %a", folder], CrashLab.Token)).Trim();
        File.Create(gate).Dispose();
        var outcome = await CrashLab.EndOfAsync(backup);
        liar.Kill(entireProcessTree: true);
        Assert.Equal($"{own.QemuUserId} 700", owner);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        await NextRunIsRightAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task QemuKilled_FailsCleanAndTheNextRunIsFullAndSaysWhy()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await DefineAsync(host.Host, "killed");
        await SucceedAsync(lab, machine);
        var (backup, gate) = await lab.StartAndHoldAsync(machine);
        await machine.KillAsync(CrashLab.Token);
        File.Create(gate).Dispose();
        await AssertStoppedAsync(lab, machine, await CrashLab.EndOfAsync(backup));
        await machine.StartAsync(CrashLab.Token);
        var newest = await NextRunIsRightAsync(lab, machine, "full");
        Assert.All(newest.Disks, disk => Assert.Contains("bitmap of checkpoint", disk.Reason, StringComparison.Ordinal));

        // Now the image has been closed once with its bitmap in it, which is another kind of damage.
        await machine.StopAsync(CrashLab.Token);
        await machine.StartAsync(CrashLab.Token);
        await NextRunIsRightAsync(lab, machine, "incremental");
        await machine.StopAsync(CrashLab.Token);
        await machine.StartAsync(CrashLab.Token);
        await machine.KillAsync(CrashLab.Token);
        await machine.StartAsync(CrashLab.Token);
        newest = await NextRunIsRightAsync(lab, machine, "full");
        Assert.All(newest.Disks, disk => Assert.Contains("inconsistent", disk.Reason, StringComparison.Ordinal));
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task MachineDestroyed_FailsCleanAndTheNextRunIsIncremental()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await DefineAsync(host.Host, "destroyed");
        await SucceedAsync(lab, machine);
        var (backup, gate) = await lab.StartAndHoldAsync(machine);
        await machine.StopAsync(CrashLab.Token);
        File.Create(gate).Dispose();
        await AssertStoppedAsync(lab, machine, await CrashLab.EndOfAsync(backup));
        await machine.StartAsync(CrashLab.Token);
        await NextRunIsRightAsync(lab, machine, "incremental");
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task DefinedAnew_TheNextRunTellsOfTheCheckpointAgainAndGoesOnFromIt()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await DefineAsync(host.Host, "anew");
        await SucceedAsync(lab, machine);
        var xml = await machine.Domain.GetXmlAsync(Libvirt.DomainXmlFlags.Inactive, CrashLab.Token);
        await machine.StopAsync(CrashLab.Token);
        await machine.Domain.UndefineAsync(Libvirt.DomainUndefineFlags.CheckpointsMetadata, CrashLab.Token);
        await host.Host.Connection.DefineDomainAsync(xml, cancellationToken: CrashLab.Token);
        await machine.StartAsync(CrashLab.Token);
        Assert.Equal(2, (await CrashLab.BitmapsAsync(machine)).Count);
        await NextRunIsRightAsync(lab, machine, "incremental");
        await machine.StopAsync(CrashLab.Token);
    }

    [Fact]
    public async Task ShrunkAndGrownAgainBetweenBackups_TheLostBytesAreZeroInTheNextPoint()
    {
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var machine = await DefineAsync(host.Host, "regrown");
        await machine.WriteAsync("vda", 6 * Mebi, Mebi, 7, CrashLab.Token);
        await SucceedAsync(lab, machine);
        await machine.ResizeAsync("vda", 5 * Mebi, CrashLab.Token);
        await machine.ResizeAsync("vda", 8 * Mebi, CrashLab.Token);
        // Behind the cut something is written anew, so that the last of it does not tell.
        await machine.WriteAsync("vda", 6 * Mebi + (Mebi / 2), Mebi / 2, 8, CrashLab.Token);
        var truth = await TruthAsync(machine);
        Assert.Equal(0, truth["vda"][6 * Mebi]);
        await SucceedAsync(lab, machine);
        var newest = (await lab.PointsAsync(machine))[^1];
        await AssertExactAsync(lab, newest, truth);
        Assert.Equal("full incremental", string.Join(' ', newest.Disks.Select(disk => disk.Mode)));
        Assert.Contains("shrunk and grown again", newest.Disks[0].Reason, StringComparison.Ordinal);
        await lab.AssertCleanAsync(machine, newest);
        await NextRunIsRightAsync(lab, machine, "incremental");
        await machine.StopAsync(CrashLab.Token);
    }

    private static async Task<LabMachine> DefineAsync(LabHost host, string name)
    {
        var machine = await LabMachine.DefineAsync(host, name, new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 4 * Mebi, 1, CrashLab.Token);
        await machine.WriteAsync("vdb", 0, 2 * Mebi, 1, CrashLab.Token);
        return machine;
    }

    private static async Task SucceedAsync(CrashLab lab, LabMachine machine)
    {
        var outcome = await lab.BackUpAsync(machine);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
    }

    private static async Task AssertStoppedAsync(CrashLab lab, LabMachine machine, Outcome outcome)
    {
        Assert.True(outcome.ExitCode == 1 && outcome.Error.Contains("stopped during its backup", StringComparison.Ordinal), $"{outcome}");
        Assert.Empty(Directory.GetFileSystemEntries(lab.Folders.Scratch));
        Assert.Empty(Directory.GetFileSystemEntries(lab.Folders.Journal));
        Assert.Single(await lab.PointsAsync(machine));
    }

    private static async Task<PointInfo> NextRunIsRightAsync(CrashLab lab, LabMachine machine, string mode)
    {
        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 3, CrashLab.Token);
        await machine.WriteAsync("vdb", Mebi, Mebi, 4, CrashLab.Token);
        var truth = await TruthAsync(machine);
        await SucceedAsync(lab, machine);
        var newest = (await lab.PointsAsync(machine))[^1];
        Assert.All(newest.Disks, disk => Assert.Equal(mode, disk.Mode));
        await lab.AssertCleanAsync(machine, newest);
        await AssertExactAsync(lab, newest, truth);
        return newest;
    }

    private static async Task<Dictionary<string, byte[]>> TruthAsync(LabMachine machine)
    {
        var truth = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var disk in machine.Disks)
            truth.Add(disk, await machine.ReadDiskAsync(disk, CrashLab.Token));
        return truth;
    }

    private static async Task AssertExactAsync(CrashLab lab, PointInfo point, Dictionary<string, byte[]> truth)
    {
        foreach (var (disk, content) in truth)
            await lab.AssertRestoresAsync(point, disk, content);
    }
}
