// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// When a failed call of a store is tried again: only where <see cref="StoreException.IsTransient"/>, after a random pause that grows,
/// and until <see cref="Patience"/> is over for that call or since the store last did anything at all. After a call gave up, the others
/// are tried once each, until one succeeds. A store that never answered gets <see cref="FirstPatience"/> only: its address is likelier
/// wrong than its server down. Shared by all calls to one store; safe from any thread.
/// </summary>
public sealed class RetryPolicy(TimeProvider clock, Random random)
{
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);
    private readonly Lock _gate = new();
    private long? _failingSince;
    private bool _everAnswered;
    private bool _isGivenUp;

    /// <summary>The first pause; each is twice the one before, up to 5 s.</summary>
    public TimeSpan FirstPause { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>How long a store that has answered before may be gone.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long a store may take to answer at all.</summary>
    public TimeSpan FirstPatience { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Calls until it succeeds, fails for good, or patience is over.</summary>
    /// <exception cref="StoreException">The last failure; after several tries its message says how long they went on.</exception>
    public async ValueTask<T> RunAsync<T>(Func<CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        long? failing = null;
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                var result = await call(cancellationToken);
                Answered();
                return result;
            }
            catch (StoreException failure)
            {
                if (!failure.IsTransient)
                {
                    Answered();
                    throw;
                }

                var pause = Pause(attempt);
                failing ??= clock.GetTimestamp();
                if (!MayWait(failing.Value, pause))
                    throw attempt == 0 ? failure : GivenUp(failure, clock.GetElapsedTime(failing.Value));
                await Task.Delay(pause, clock, cancellationToken);
            }
        }
    }

    private static StoreException GivenUp(StoreException failure, TimeSpan time) => new(
        $"{failure.Message.TrimEnd('.')}; tried again for {time.TotalSeconds:0} s.", isTransient: true, failure) { Hint = failure.Hint };

    // Between half and all of a time that doubles: callers that failed together do not come back together.
    private TimeSpan Pause(int attempt)
    {
        var full = TimeSpan.FromTicks(Math.Min(LongestPause.Ticks, FirstPause.Ticks << Math.Min(attempt, 10)));
        lock (_gate)
            return full * (0.5 + random.NextDouble() / 2);
    }

    private void Answered()
    {
        lock (_gate)
            (_everAnswered, _isGivenUp, _failingSince) = (true, false, null);
    }

    private bool MayWait(long failing, TimeSpan pause)
    {
        lock (_gate)
        {
            _failingSince ??= failing;
            var since = Math.Min(failing, _failingSince.Value);
            _isGivenUp |= clock.GetElapsedTime(since) + pause >= (_everAnswered ? Patience : FirstPatience);
            return !_isGivenUp;
        }
    }
}
