// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Crash.Tests;

/// <summary>A guest that has been backed up once, so that every run after it is incremental; booted once for many tests.</summary>
public sealed class SharedGuest(HostFixture host) : IAsyncLifetime
{
    public const int QuietBytes = 16 << 20;

    public Random Random { get; } = new(TestKit.Seed.Choose(7));

    public CrashLab Lab { get; private set; } = null!;

    public CrashGuest Guest { get; private set; } = null!;

    /// <summary>About what a run takes.</summary>
    public TimeSpan Duration { get; private set; }

    public async ValueTask InitializeAsync()
    {
        Lab = await CrashLab.CreateAsync(host.Host);
        Guest = await CrashGuest.StartAsync(host.Host, "shared-guest", QuietBytes);
        await Guest.DisturbAsync(Random, QuietBytes);
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

[CollectionDefinition(nameof(SharedGuest))]
public sealed class SharedGuestTests : ICollectionFixture<SharedGuest>;
