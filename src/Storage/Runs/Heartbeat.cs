// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Storage;

/// <summary>
/// Tells the store every ten minutes that a run lives. A heartbeat that can't be written is tried again at the next: what protects the
/// data is the fence, not the clock (I12).
/// </summary>
internal sealed class Heartbeat : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(10);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _beating;

    public Heartbeat(RepositoryContext context, string runKey) =>
        _beating = context.Scheduler.Start(() => BeatAsync(context, runKey));

    public async ValueTask DisposeAsync()
    {
        _stop.Stop();
        await _beating.Quietly();
        _stop.Dispose();
    }

    private async Task BeatAsync(RepositoryContext context, string runKey)
    {
        using var timer = new PeriodicTimer(Interval, context.Clock);
        for (var number = 1; await timer.WaitForNextTickAsync(_stop.Token); number++)
        {
            try
            {
                var key = string.Create(CultureInfo.InvariantCulture, $"{runKey}.hb{number}");
                await context.Store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, _stop.Token);
            }
            catch (StoreException)
            {
                continue;
            }
        }
    }
}
