// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Security.Cryptography;
using Tidemark.Engine.Points;
using Tidemark.TestKit;

namespace Tidemark.Crash.Tests;

/// <summary>The real command dies by SIGKILL from outside, at moments spread over all of its run, now and then with its guardian.</summary>
public sealed class RandomDeathTests(HostFixture host)
{
    private const int Mebi = 1 << 20;
    private const int Deaths = 50;
    private const int MostKills = 120;
    private const int LookEvery = 10;

    [Fact]
    public async Task FiftyDeathsAtRandomMoments_TheGuestGoesOnAndEveryPointIsExact()
    {
        var seed = Seed.Choose(50);
        TestContext.Current.TestOutputHelper?.WriteLine($"TIDEMARK_SEED={seed}");
        var random = new Random(seed);
        await using var lab = await CrashLab.CreateAsync(host.Host);
        var guest = await CrashGuest.StartAsync(host.Host, "random", 32 * Mebi);
        var truths = new Dictionary<string, string?>(StringComparer.Ordinal);
        await guest.DisturbAsync(random, 32 * Mebi);
        await NextRunAsync(lab, guest, truths);
        await guest.DisturbAsync(random, 16 * Mebi);
        var duration = await NextRunAsync(lab, guest, truths);

        // A kill that comes too late is no death, so it does not count.
        var (deaths, kills) = (0, 0);
        for (; deaths < Deaths && kills < MostKills; kills++)
        {
            await guest.DisturbAsync(random, 16 * Mebi);
            var backup = lab.StartBackup(guest.Machine);
            await Task.Delay(duration * random.NextDouble(), CrashLab.Token);
            var guardian = random.Next(5) == 0 ? CrashLab.ChildrenOf(backup.Id) : [];
            CrashLab.Kill(backup.Id);
            foreach (var child in guardian)
                CrashLab.Kill(child);
            var died = Stopwatch.GetTimestamp();
            deaths += (await CrashLab.EndOfAsync(backup)).ExitCode == CrashLab.Killed ? 1 : 0;
            if (guardian.Count == 0)
            {
                await guest.AssertRunsAsync(died);
                await lab.AssertNothingStaysAsync(guest.Machine, died);
            }

            await NoteAsync(lab, guest, truths);
            await guest.DisturbAsync(random, Mebi);
            duration = await NextRunAsync(lab, guest, truths);
            await guest.AssertRunsAsync(Stopwatch.GetTimestamp());
            if (kills % LookEvery == LookEvery - 1)
                await LookAsync(lab, guest, truths);
        }

        await LookAsync(lab, guest, truths);
        TestContext.Current.TestOutputHelper?.WriteLine($"{deaths} of {kills} runs were cut short; a whole one takes {duration}.");
        Assert.Equal(Deaths, deaths);
        await guest.Machine.StopAsync(CrashLab.Token);
    }

    // How long the backup took: the next death lies within that time.
    private static async Task<TimeSpan> NextRunAsync(CrashLab lab, CrashGuest guest, Dictionary<string, string?> truths)
    {
        var begun = Stopwatch.GetTimestamp();
        var outcome = await lab.BackUpAsync(guest.Machine);
        var duration = Stopwatch.GetElapsedTime(begun);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        var newest = await NoteAsync(lab, guest, truths);
        await lab.AssertCleanAsync(guest.Machine, newest);
        if (truths.Count > 1)
            Assert.All(newest.Disks, disk => Assert.Equal("incremental", disk.Mode));
        return duration;
    }

    // Points that were not there before hold what the disk holds now.
    private static async Task<PointInfo> NoteAsync(CrashLab lab, CrashGuest guest, Dictionary<string, string?> truths)
    {
        var points = await lab.PointsAsync(guest.Machine);
        var truth = Convert.ToHexString(SHA256.HashData(guest.Quiet));
        foreach (var point in points)
            truths.TryAdd(point.Id, truth);
        return points[^1];
    }

    // Restores what came since the last look; what was found right once is not restored again.
    private static async Task LookAsync(CrashLab lab, CrashGuest guest, Dictionary<string, string?> truths)
    {
        foreach (var point in await lab.PointsAsync(guest.Machine))
        {
            if (truths[point.Id] is not { } truth)
                continue;
            var path = await lab.RestoreAsync(point, CrashGuest.QuietDisk);
            await using (var restored = File.OpenRead(path))
                Assert.Equal(truth, Convert.ToHexString(await SHA256.HashDataAsync(restored, CrashLab.Token)));
            File.Delete(path);
            truths[point.Id] = null;
        }
    }
}
