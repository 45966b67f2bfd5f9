// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Runs;

namespace Tidemark.Crash.Tests;

/// <summary>
/// The process that makes a backup dies by SIGKILL, its own and so without any clean-up, at each named step. The guardian alone
/// must put the guest right, and the next run the rest.
/// </summary>
[Collection(nameof(SharedGuest))]
public sealed class DeathAtStepTests(SharedGuest fixture)
{
    private const int Mebi = 1 << 20;

    private readonly CrashLab _lab = fixture.Lab;
    private readonly CrashGuest _guest = fixture.Guest;

    public static TheoryData<RunStep> Steps => [.. Enum.GetValues<RunStep>()];

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task DeathAtAStep_TheGuestGoesOnAndTheNextRunIsRight(RunStep step)
    {
        var points = await _lab.PointsAsync(_guest.Machine);
        await _guest.DisturbAsync(fixture.Random, Mebi);
        var outcome = await _lab.DieAtAsync(_guest.Machine, step);
        var died = Stopwatch.GetTimestamp();
        Assert.True(outcome.ExitCode == CrashLab.Killed, $"{outcome}");
        await _guest.AssertRunsAsync(died);
        // Before the guardian watches there is nothing on the machine, only the entry that says so.
        await _lab.AssertNothingStaysAsync(_guest.Machine, died, journal: step != RunStep.Journaled);

        var left = (await _lab.PointsAsync(_guest.Machine)).Skip(points.Count).ToList();
        Assert.Equal(step >= RunStep.Committed ? 1 : 0, left.Count);
        foreach (var point in left)
            await _lab.AssertRestoresAsync(point, CrashGuest.QuietDisk, _guest.Quiet);
        await NextRunAsync(withFiles: step is RunStep.Begun or RunStep.Committed);
    }

    [Theory]
    [InlineData(RunStep.Frozen)]
    [InlineData(RunStep.Begun)]
    [InlineData(RunStep.Connected)]
    [InlineData(RunStep.Committed)]
    public async Task DeathTogetherWithTheGuardian_TheNextRunPutsItRight(RunStep step)
    {
        await _guest.DisturbAsync(fixture.Random, Mebi);
        var outcome = await _lab.DieAtAsync(_guest.Machine, step, withGuardian: true);
        Assert.True(outcome.ExitCode == CrashLab.Killed, $"{outcome}");
        // This is what guardians are for, and proof that the other test kills where it says.
        Assert.Equal(step <= RunStep.Begun ? "frozen" : "thawed", await _guest.FreezeStatusAsync());
        var job = (await _guest.Machine.Domain.GetJobStatsAsync(cancellationToken: CrashLab.Token)).IsActive;
        Assert.Equal(step is RunStep.Begun or RunStep.Connected, job);
        await NextRunAsync(withFiles: false);
        await _guest.AssertRunsAsync(Stopwatch.GetTimestamp());
    }

    private async Task NextRunAsync(bool withFiles)
    {
        await _guest.DisturbAsync(fixture.Random, Mebi);
        var before = _guest.Log.Position;
        var outcome = await _lab.BackUpAsync(_guest.Machine);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        var newest = (await _lab.PointsAsync(_guest.Machine))[^1];
        Assert.All(newest.Disks, disk => Assert.Equal("incremental", disk.Mode));
        Assert.Equal("filesystem", newest.Consistency);
        await _lab.AssertCleanAsync(_guest.Machine, newest);
        await _lab.AssertRestoresAsync(newest, CrashGuest.QuietDisk, _guest.Quiet);
        if (!withFiles)
            return;
        await Task.Delay(1000, CrashLab.Token);
        await _guest.AssertFilesAsync(_lab, newest, before, _guest.Log.Position);
    }
}
