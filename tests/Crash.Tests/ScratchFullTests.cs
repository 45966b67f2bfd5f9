// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Lab;
using Tidemark.Libvirt;

namespace Tidemark.Crash.Tests;

/// <summary>The scratch space fills up: QEMU then pauses the guest, and no guest may stay so because of a backup.</summary>
[Collection(nameof(SharedGuest))]
public sealed class ScratchFullTests(HostFixture host, SharedGuest fixture)
{
    private const int Mebi = 1 << 20;
    private static readonly TimeSpan FillLimit = TimeSpan.FromSeconds(60);

    /// <summary>How the run ends after its scratch has filled up.</summary>
    public enum Ending
    {
        Itself,
        Killed,
        AbortedByAStranger,
    }

    [Theory]
    [InlineData(Ending.Itself)]
    [InlineData(Ending.Killed)]
    [InlineData(Ending.AbortedByAStranger)]
    public async Task ScratchFull_VoidsTheRunAndTheGuestGoesOn(Ending ending)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "A file system of a few megabytes can only be mounted by root.");
        var scratch = host.Host.CreateFolder($"full{ending}");
        try
        {
            await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "size=2m,mode=711", "tmpfs", scratch], CrashLab.Token);
        }
        catch (InvalidOperationException e)
        {
            Assert.Skip($"A small file system cannot be mounted here: {e.Message}");
        }

        try
        {
            await FillAsync(ending, scratch);
        }
        finally
        {
            await Tool.RunAsync("umount", ["-l", scratch], CancellationToken.None);
        }
    }

    private async Task FillAsync(Ending ending, string scratch)
    {
        var (lab, guest) = (fixture.Lab, fixture.Guest);
        // Space of the scratch is taken where the disk held data before.
        await guest.RunAsync("[ -e /mnt/vda/big ] || dd if=/dev/urandom of=/mnt/vda/big bs=1M count=8; sync; echo FILLED > /dev/ttyS0");
        await guest.Log.WaitForAsync("FILLED", FillLimit, CrashLab.Token);
        var first = await lab.BackUpAsync(guest.Machine);
        Assert.True(first.ExitCode == 0, $"{first}");
        var points = (await lab.PointsAsync(guest.Machine)).Count;

        var (backup, gate) = await lab.StartAndHoldAsync(guest.Machine, scratch);
        await guest.RunAsync("dd if=/dev/urandom of=/mnt/vda/big bs=1M count=8 conv=notrunc; sync");
        await WaitForPauseAsync(guest);
        var died = Stopwatch.GetTimestamp();
        if (ending == Ending.Killed)
            CrashLab.Kill(backup.Id);
        else if (ending == Ending.AbortedByAStranger)
            await guest.Machine.Domain.AbortJobAsync(CrashLab.Token);
        File.Create(gate).Dispose();
        var outcome = await CrashLab.EndOfAsync(backup);
        if (ending == Ending.Killed)
            Assert.Equal(CrashLab.Killed, outcome.ExitCode);
        else
            Assert.True(outcome.ExitCode == 1 && outcome.Error.Contains("scratch space", StringComparison.Ordinal), $"{outcome}");

        while ((await guest.Machine.Domain.GetStatusAsync(CrashLab.Token)).State != DomainState.Running)
        {
            Assert.True(Stopwatch.GetElapsedTime(died) < TimeSpan.FromSeconds(60), "The guest is still paused.");
            await Task.Delay(50, CrashLab.Token);
        }

        await guest.AssertRunsAsync(Stopwatch.GetTimestamp());
        await lab.AssertNothingStaysAsync(guest.Machine, died, journal: true);
        Assert.Empty(Directory.GetFileSystemEntries(scratch));
        Assert.Equal(points, (await lab.PointsAsync(guest.Machine)).Count);

        await guest.DisturbAsync(fixture.Random, Mebi);
        var before = guest.Log.Position;
        var next = await lab.BackUpAsync(guest.Machine);
        Assert.True(next.ExitCode == 0, $"{next}");
        var newest = (await lab.PointsAsync(guest.Machine))[^1];
        Assert.All(newest.Disks, disk => Assert.Equal("incremental", disk.Mode));
        await lab.AssertCleanAsync(guest.Machine, newest);
        await lab.AssertRestoresAsync(newest, CrashGuest.QuietDisk, guest.Quiet);
        await Task.Delay(1000, CrashLab.Token);
        await guest.AssertFilesAsync(lab, newest, before, guest.Log.Position);
    }

    private static async Task WaitForPauseAsync(CrashGuest guest)
    {
        var started = Stopwatch.GetTimestamp();
        while (!(await guest.Machine.Domain.GetStatusAsync(CrashLab.Token)).IsIoErrorPause)
        {
            Assert.True(Stopwatch.GetElapsedTime(started) < FillLimit, "The scratch space did not fill up.");
            await Task.Delay(50, CrashLab.Token);
        }
    }
}
