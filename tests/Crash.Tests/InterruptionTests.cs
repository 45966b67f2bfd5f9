// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Crash.Tests;

/// <summary>A user or the system ends a backup in the middle: it undoes itself.</summary>
[Collection(nameof(SharedGuest))]
public sealed class InterruptionTests(SharedGuest fixture)
{
    private const int Mebi = 1 << 20;
    private const int Interrupted = 130;

    private readonly CrashLab _lab = fixture.Lab;
    private readonly CrashGuest _guest = fixture.Guest;

    [Theory]
    [InlineData(2)]
    [InlineData(15)]
    public async Task SignalInTheMiddle_UndoesTheRun(int signal)
    {
        var points = (await _lab.PointsAsync(_guest.Machine)).Count;
        var (backup, gate) = await _lab.StartAndHoldAsync(_guest.Machine);
        Assert.True((await _guest.Machine.Domain.GetJobStatsAsync(cancellationToken: CrashLab.Token)).IsActive);
        CrashLab.Signal(backup.Id, signal);
        File.Create(gate).Dispose();
        var outcome = await CrashLab.EndOfAsync(backup);
        Assert.True(outcome.ExitCode == Interrupted, $"{outcome}");
        await AssertUndoneAsync(points);
    }

    [Theory]
    [InlineData(2, 0.6)]
    [InlineData(15, 0.8)]
    public async Task SignalAtSomeMoment_EitherUndoesTheRunOrComesTooLate(int signal, double part)
    {
        var points = (await _lab.PointsAsync(_guest.Machine)).Count;
        await _guest.DisturbAsync(fixture.Random, SharedGuest.QuietBytes);
        var backup = _lab.StartBackup(_guest.Machine);
        await Task.Delay(fixture.Duration * part, CrashLab.Token);
        CrashLab.Signal(backup.Id, signal);
        var outcome = await CrashLab.EndOfAsync(backup);
        Assert.True(outcome.ExitCode is Interrupted or 0, $"{outcome}");
        await AssertUndoneAsync(points + (outcome.ExitCode == 0 ? 1 : 0));
    }

    private async Task AssertUndoneAsync(int points)
    {
        // At once, not only when a guardian has come to help.
        var found = await _lab.PointsAsync(_guest.Machine);
        Assert.Equal(points, found.Count);
        await _lab.AssertCleanAsync(_guest.Machine, found[^1]);
        await _guest.AssertRunsAsync(Stopwatch.GetTimestamp());
        await _guest.DisturbAsync(fixture.Random, Mebi);
        var next = await _lab.BackUpAsync(_guest.Machine);
        Assert.True(next.ExitCode == 0, $"{next}");
        var newest = (await _lab.PointsAsync(_guest.Machine))[^1];
        await _lab.AssertCleanAsync(_guest.Machine, newest);
        await _lab.AssertRestoresAsync(newest, CrashGuest.QuietDisk, _guest.Quiet);
    }
}
