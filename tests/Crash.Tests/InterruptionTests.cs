// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Crash.Tests;

/// <summary>A user or the system ends a backup in the middle: it undoes itself.</summary>
public sealed class InterruptionTests(InterruptionTests.Fixture fixture) : IClassFixture<InterruptionTests.Fixture>
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
        File.Delete(gate);
        var outcome = await CrashLab.EndOfAsync(backup);
        Assert.True(outcome.ExitCode == Interrupted, $"{outcome}");
        await AssertUndoneAsync(points);
    }

    [Theory]
    [InlineData(2, 0.5)]
    [InlineData(2, 0.7)]
    [InlineData(15, 0.9)]
    public async Task SignalAtSomeMoment_EitherUndoesTheRunOrComesTooLate(int signal, double part)
    {
        var points = (await _lab.PointsAsync(_guest.Machine)).Count;
        await _guest.DisturbAsync(fixture.Random, 16 * Mebi);
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

    /// <summary>A guest that has been backed up.</summary>
    public sealed class Fixture(HostFixture host) : IAsyncLifetime
    {
        public Random Random { get; } = new(TestKit.Seed.Choose(2));

        public CrashLab Lab { get; private set; } = null!;

        public CrashGuest Guest { get; private set; } = null!;

        public TimeSpan Duration { get; private set; }

        public async ValueTask InitializeAsync()
        {
            Lab = await CrashLab.CreateAsync(host.Host);
            Guest = await CrashGuest.StartAsync(host.Host, "signals", 16 * Mebi);
            await Guest.DisturbAsync(Random, 16 * Mebi);
            var started = Stopwatch.GetTimestamp();
            var outcome = await Lab.BackUpAsync(Guest.Machine);
            Duration = Stopwatch.GetElapsedTime(started);
            Assert.True(outcome.ExitCode == 0, $"{outcome}");
        }

        public async ValueTask DisposeAsync()
        {
            await Guest.Machine.StopAsync(CrashLab.Token);
            await Lab.DisposeAsync();
        }
    }
}
