// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.TestKit;

/// <summary>
/// A clock on which time passes only by waiting: a timer moves it on by its time and fires at once. So what waits for an hour takes no
/// time, and always the same one. Safe from any thread.
/// </summary>
public sealed class SteppingClock : TimeProvider
{
    private long _ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <summary>All that was waited for.</summary>
    public TimeSpan Waited => new(Interlocked.Read(ref _ticks));

    public override long GetTimestamp() => Interlocked.Read(ref _ticks);

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + Waited;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        new Timer(this, () => callback(state), dueTime);

    private sealed class Timer : ITimer
    {
        private readonly SteppingClock _clock;
        private readonly Action _fire;
        private int _isDisposed;

        public Timer(SteppingClock clock, Action fire, TimeSpan dueTime)
        {
            (_clock, _fire) = (clock, fire);
            Change(dueTime, Timeout.InfiniteTimeSpan);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime < TimeSpan.Zero || Volatile.Read(ref _isDisposed) != 0)
                return false;
            Interlocked.Add(ref _clock._ticks, dueTime.Ticks);
            ThreadPool.QueueUserWorkItem(_ =>
            {
                if (Volatile.Read(ref _isDisposed) == 0)
                    _fire();
            });
            return true;
        }

        public void Dispose() => Volatile.Write(ref _isDisposed, 1);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
