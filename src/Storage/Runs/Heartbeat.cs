// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Storage;

/// <summary>
/// Tells the store every ten minutes that a run lives. A heartbeat that can't be written is tried again at the next: what protects the
/// data is the fence, not the clock (I12). Fences are kept for 30 days, hence a run silent for longer than a week gives up by itself.
/// </summary>
internal sealed class Heartbeat : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan MaxSilence = TimeSpan.FromDays(7);
    private readonly CancellationTokenSource _stop = new();
    private readonly TimeProvider _clock;
    private readonly PeriodicTimer _timer;
    private readonly Task _beating;
    private Beat _last;

    public Heartbeat(RepositoryContext context, string runKey)
    {
        _clock = context.Clock;
        _timer = new PeriodicTimer(Interval, _clock);
        _last = Now();
        _beating = context.Scheduler.Start(() => BeatAsync(context, runKey));
    }

    /// <summary>Nothing of this run reached the store for so long that it may have been forgotten. A clock that does not count
    /// while the host sleeps is not enough, and one that is set is no harm: the longer time counts.</summary>
    public bool IsTooOld
    {
        get
        {
            var last = Volatile.Read(ref _last);
            return _clock.GetElapsedTime(last.Timestamp) > MaxSilence || _clock.GetUtcNow() - last.Time > MaxSilence;
        }
    }

    public async ValueTask DisposeAsync()
    {
        _timer.Dispose();
        _stop.Stop();
        await _beating.Quietly();
        _stop.Dispose();
    }

    private async Task BeatAsync(RepositoryContext context, string runKey)
    {
        for (var number = 1; await _timer.WaitForNextTickAsync(CancellationToken.None); number++)
        {
            try
            {
                var key = string.Create(CultureInfo.InvariantCulture, $"{runKey}.hb{number}");
                var beat = Now();
                await context.Store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, _stop.Token);
                Volatile.Write(ref _last, beat);
            }
            catch (StoreException)
            {
                continue;
            }
        }
    }

    private Beat Now() => new(_clock.GetTimestamp(), _clock.GetUtcNow());

    private sealed record Beat(long Timestamp, DateTimeOffset Time);
}
