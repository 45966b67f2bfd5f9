// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// A token bucket for bytes, shared by everything that is to stay below one rate: each taker waits until what was taken before it
/// has had its time. A tenth of a second may be taken ahead. Safe from any thread.
/// </summary>
public sealed class RateLimit
{
    private const int SlicesPerSecond = 10;
    private readonly Lock _gate = new();
    private readonly TimeProvider _clock;
    private readonly long _began;
    private TimeSpan _paidUntil;

    /// <param name="bytesPerSecond">The rate.</param>
    /// <param name="clock">What time it is.</param>
    public RateLimit(long bytesPerSecond, TimeProvider clock)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytesPerSecond, 1);
        (BytesPerSecond, _clock) = (bytesPerSecond, clock);
        _began = clock.GetTimestamp();
    }

    public long BytesPerSecond { get; }

    /// <summary>The most bytes that should be taken at once, so that the flow is even.</summary>
    public int Slice => (int)Math.Clamp(BytesPerSecond / SlicesPerSecond, 1024, 256 << 10);

    /// <summary>Takes bytes that are about to be sent or were received.</summary>
    public async ValueTask TakeAsync(long bytes, CancellationToken cancellationToken)
    {
        TimeSpan wait;
        lock (_gate)
        {
            var now = _clock.GetElapsedTime(_began);
            var ahead = now - TimeSpan.FromSeconds(1.0 / SlicesPerSecond);
            _paidUntil = (_paidUntil > ahead ? _paidUntil : ahead) + TimeSpan.FromSeconds((double)bytes / BytesPerSecond);
            wait = _paidUntil - now;
        }

        if (wait > TimeSpan.Zero)
            await Task.Delay(wait, _clock, cancellationToken);
    }
}
