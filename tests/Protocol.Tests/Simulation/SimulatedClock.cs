// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>The simulation's time: it stands still until the driver moves it, and then fires what became due, each timer once.</summary>
internal sealed class SimulatedClock
{
    private readonly List<Timer> _timers = [];
    private readonly int _thread = Environment.CurrentManagedThreadId;

    public DateTimeOffset Now { get; private set; } = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public void Advance(TimeSpan by)
    {
        Now += by;
        foreach (var timer in _timers.Where(timer => timer.Due <= Now).ToArray())
            timer.Fire(Now);
    }

    /// <summary>The clock of one host, wrong by <paramref name="skew"/>; its monotonic time is right.</summary>
    public TimeProvider For(TimeSpan skew) => new HostClock(this, skew);

    private sealed class HostClock(SimulatedClock clock, TimeSpan skew) : TimeProvider
    {
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override DateTimeOffset GetUtcNow() => clock.Now + skew;

        public override long GetTimestamp() => clock.Now.Ticks;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = new Timer(clock, callback, state);
            timer.Change(dueTime, period);
            clock._timers.Add(timer);
            return timer;
        }
    }

    private sealed class Timer(SimulatedClock clock, TimerCallback callback, object? state) : ITimer
    {
        private TimeSpan _period = Timeout.InfiniteTimeSpan;

        public DateTimeOffset Due { get; private set; } = DateTimeOffset.MaxValue;

        public void Fire(DateTimeOffset now)
        {
            Due = _period == Timeout.InfiniteTimeSpan ? DateTimeOffset.MaxValue : now + _period;
            callback(state);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Due = dueTime == Timeout.InfiniteTimeSpan ? DateTimeOffset.MaxValue : clock.Now + dueTime;
            _period = period;
            return true;
        }

        // What a dead process left is not disposed of in time, but by the finalizer, at no time that the seed decides.
        public void Dispose()
        {
            if (Environment.CurrentManagedThreadId == clock._thread)
                clock._timers.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
