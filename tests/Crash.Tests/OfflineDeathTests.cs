// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Tidemark.Engine.Runs;
using Tidemark.Lab;

namespace Tidemark.Crash.Tests;

/// <summary>
/// The process that backs up a stopped machine dies by SIGKILL: the daemon that reads its images, the run's folder and its journal
/// entry go without a next run, the machine can start, and the next run is right.
/// </summary>
public sealed class OfflineDeathTests(HostFixture fixture)
{
    private const int Mebi = 1 << 20;
    private const int SigStop = 19;

    [Theory]
    [InlineData(RunStep.Guarded, false)]
    [InlineData(RunStep.Begun, false)]
    [InlineData(RunStep.Connected, false)]
    [InlineData(RunStep.Connected, true)]
    [InlineData(RunStep.AllDisksRead, false)]
    [InlineData(RunStep.Stored, false)]
    [InlineData(RunStep.Committed, false)]
    public async Task DeathAtAStep_LeavesNothing(RunStep step, bool withGuardian)
    {
        await using var lab = await CrashLab.CreateAsync(fixture.Host);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, $"offdeath-{step}-{withGuardian}".ToLowerInvariant(), new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 1, CrashLab.Token);
        Assert.Equal(0, (await lab.BackUpAsync(machine)).ExitCode);
        await machine.WriteAsync("vda", Mebi, 70_000, 2, CrashLab.Token);
        await machine.StopAsync(CrashLab.Token);
        var truth = await machine.ReadDiskAsync("vda", CrashLab.Token);

        var outcome = await lab.DieAtAsync(machine, step, withGuardian);
        var died = Stopwatch.GetTimestamp();
        Assert.True(outcome.ExitCode == CrashLab.Killed, $"{outcome}");
        if (!withGuardian)
            await AssertNothingStaysAsync(lab, died);
        Assert.Equal(step >= RunStep.Committed ? 2 : 1, (await lab.PointsAsync(machine)).Count);

        var next = await lab.BackUpAsync(machine);
        Assert.True(next.ExitCode == 0, $"{next}");
        var newest = (await lab.PointsAsync(machine))[^1];
        Assert.Equal(("offline", "incremental"), (newest.Consistency, newest.Disks[0].Mode));
        await lab.AssertRestoresAsync(newest, "vda", truth);
        await AssertNothingStaysAsync(lab, died);
        await machine.StartAsync(CrashLab.Token);
        await machine.StopAsync(CrashLab.Token);
    }

    // A daemon that can't take the signal it gets with its owner's death.
    [Fact]
    public async Task DaemonThatOutlivesItsOwner_IsEndedByTheGuardian()
    {
        await using var lab = await CrashLab.CreateAsync(fixture.Host);
        var machine = await LabMachine.DefineAsync(fixture.Host, "offstuck", new LabDisk("vda", 4 * Mebi));
        await machine.StopAsync(CrashLab.Token);
        var stopped = 0;
        var death = lab.DieAtAsync(machine, RunStep.Connected, withGuardian: false);
        while (!death.IsCompleted && stopped == 0)
        {
            foreach (var daemon in Daemons(lab))
                CrashLab.Signal(stopped = daemon, SigStop);
            await Task.Delay(1, CrashLab.Token);
        }

        Assert.NotEqual(0, stopped);
        var died = Stopwatch.GetTimestamp();
        // Stopped before it is connected, it keeps the worker waiting for good: that dies by our hand then.
        if (await Task.WhenAny(death, Task.Delay(3000, CrashLab.Token)) != death)
            CrashLab.Kill(Worker(machine));
        await death;
        await AssertNothingStaysAsync(lab, died);
        Assert.Equal(0, (await lab.BackUpAsync(machine)).ExitCode);
    }

    private static async Task AssertNothingStaysAsync(CrashLab lab, long died)
    {
        while (true)
        {
            var left = Directory.GetFileSystemEntries(lab.Folders.Scratch).Concat(Entries(lab.Folders.Journal)).ToList();
            var daemons = Daemons(lab);
            if (left.Count + daemons.Count == 0)
                return;
            Assert.True(
                Stopwatch.GetElapsedTime(died) < TimeSpan.FromSeconds(60),
                $"A minute after the death: daemons [{string.Join(' ', daemons)}], files [{string.Join(' ', left)}].");
            await Task.Delay(50, CrashLab.Token);
        }
    }

    private static string[] Entries(string folder) => Directory.Exists(folder) ? Directory.GetFileSystemEntries(folder) : [];

    private static IReadOnlyList<int> Daemons(CrashLab lab) => Processes(words =>
        words.Contains("--pidfile") && words.Any(word => word.StartsWith(lab.Folders.Scratch + "/", StringComparison.Ordinal)));

    private static int Worker(LabMachine machine) =>
        Processes(words => words.Contains(machine.Domain.Uuid.ToString("d"))
            && words.Any(word => word.EndsWith("Tidemark.Worker.dll", StringComparison.Ordinal)))[0];

    private static IReadOnlyList<int> Processes(Func<string[], bool> wanted)
    {
        var found = new List<int>();
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])))
        {
            try
            {
                if (wanted(File.ReadAllText(Path.Combine(process, "cmdline")).Split('\0')))
                    found.Add(int.Parse(Path.GetFileName(process), CultureInfo.InvariantCulture));
            }
            catch (IOException)
            {
                // It has ended.
            }
        }

        return found;
    }
}
