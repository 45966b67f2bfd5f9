// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;

namespace Tidemark.Libvirt;

/// <summary>
/// As many threads as calls run at once: a call never waits for another. A thread that is idle takes the next call for a while, since
/// calls come in rows and starting a thread costs as much as a call.
/// </summary>
internal sealed class BlockingThreads : TaskScheduler
{
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(1);

    private readonly Queue<Task> _calls = new();
    private int _idle;

    protected override void QueueTask(Task task)
    {
        lock (_calls)
        {
            if (_calls.Count < _idle)
            {
                _calls.Enqueue(task);
                Monitor.Pulse(_calls);
                return;
            }
        }

        new Thread(() => Work(task)) { IsBackground = true, Name = "libvirt call" }.Start();
    }

    // On the caller's thread it would block just where it must not.
    protected override bool TryExecuteTaskInline(Task task, bool taskWasPreviouslyQueued) => false;

    protected override IEnumerable<Task> GetScheduledTasks() => throw new NotSupportedException("Calls are not listed.");

    private void Work(Task first)
    {
        TryExecuteTask(first);
        while (TryTake(out var next))
            TryExecuteTask(next);
    }

    // False when none came for a while.
    private bool TryTake([NotNullWhen(true)] out Task? next)
    {
        lock (_calls)
        {
            _idle++;
            try
            {
                while (!_calls.TryDequeue(out next))
                {
                    if (!Monitor.Wait(_calls, Linger) && _calls.Count == 0)
                        return false;
                }

                return true;
            }
            finally
            {
                _idle--;
            }
        }
    }
}
