// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>
/// Runs every task of a simulation on one thread, in an order that the seed decides. A task that comes from another thread would make
/// runs of one seed differ: it is remembered and fails the simulation.
/// </summary>
internal sealed class SeededScheduler(Random random) : TaskScheduler
{
    private readonly List<Task> _ready = [];
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private volatile string? _stray;

    public int ReadyCount => _ready.Count;

    /// <summary>Where a task came from another thread, or null when none did.</summary>
    public string? Stray => _stray;

    public override int MaximumConcurrencyLevel => 1;

    /// <summary>Runs one of the tasks that can run, up to where it waits.</summary>
    public void RunOne()
    {
        var chosen = random.Next(_ready.Count);
        var task = _ready[chosen];
        _ready[chosen] = _ready[^1];
        _ready.RemoveAt(_ready.Count - 1);
        TryExecuteTask(task);
    }

    protected override void QueueTask(Task task)
    {
        if (Environment.CurrentManagedThreadId == _thread)
            _ready.Add(task);
        else
            _stray ??= Environment.StackTrace;
    }

    protected override bool TryExecuteTaskInline(Task task, bool taskWasPreviouslyQueued) => false;

    protected override IEnumerable<Task> GetScheduledTasks() => [.. _ready];
}
