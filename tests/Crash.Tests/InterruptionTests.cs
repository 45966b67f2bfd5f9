// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Lab;

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

    /// <summary>The restore point exists: the command says so, whatever comes while it cleans up.</summary>
    [Fact]
    public async Task SignalRightAfterTheCommit_ComesTooLate()
    {
        var points = (await _lab.PointsAsync(_guest.Machine)).Count;
        var before = _lab.PointFiles;
        await _guest.DisturbAsync(fixture.Random, Mebi);
        var backup = _lab.StartBackup(_guest.Machine);
        while (_lab.PointFiles == before && !backup.HasExited)
            await Task.Yield();
        CrashLab.Signal(backup.Id, 2);
        var outcome = await CrashLab.EndOfAsync(backup);
        Assert.True(outcome.ExitCode == 0, $"{outcome}");
        await AssertUndoneAsync(points + 1);
    }

    /// <summary>Of several machines, those that were done before the signal are done, and told.</summary>
    [Fact]
    public async Task SignalBetweenTwoMachines_TellsWhatWasDone()
    {
        var first = await LabMachine.DefineAsync(_lab.Host, "done-before", new LabDisk("vda", 4 * Mebi));
        var points = (await _lab.PointsAsync(_guest.Machine)).Count;
        var (backup, gate) = await _lab.StartAndHoldAsync(_guest.Machine, first: first);
        CrashLab.Signal(backup.Id, 2);
        File.Create(gate).Dispose();
        var outcome = await CrashLab.EndOfAsync(backup);
        Assert.True(outcome.ExitCode == Interrupted, $"{outcome}");
        var point = Assert.Single(await _lab.PointsAsync(first));
        Assert.Contains($"done-before@{point.Id}", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("1 of 2 machines were not backed up", outcome.Error, StringComparison.Ordinal);
        await first.StopAsync(CrashLab.Token);
        await AssertUndoneAsync(points);
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
