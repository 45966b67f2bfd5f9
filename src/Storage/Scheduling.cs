// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// How this room starts and awaits work, so that all of it runs on the one scheduler its repository was opened with: a test's scheduler
/// then decides every step. The BCL's own waits with a token, <c>ReadAllAsync</c> of a channel and <c>CancelAsync</c> go through the
/// thread pool whatever the scheduler, hence these. On the default scheduler each costs what the BCL's does.
/// </summary>
internal static class Scheduling
{
    /// <summary>Begins work of its own; whoever begins it awaits it.</summary>
    public static Task Start(this TaskScheduler scheduler, Func<Task> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.DenyChildAttach, scheduler).Unwrap();

    /// <summary>Begins work of its own with a result.</summary>
    public static Task<T> Start<T>(this TaskScheduler scheduler, Func<Task<T>> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.DenyChildAttach, scheduler).Unwrap();

    /// <summary>Options of a parallel loop on this scheduler.</summary>
    public static ParallelOptions AtOnce(this TaskScheduler scheduler, int atOnce, CancellationToken cancellationToken) => new()
    {
        MaxDegreeOfParallelism = atOnce,
        CancellationToken = cancellationToken,
        TaskScheduler = scheduler,
    };

    /// <summary>Enters a gate whose holders leave it soon after a cancellation; then this throws.</summary>
    public static async ValueTask EnterAsync(this SemaphoreSlim gate, CancellationToken cancellationToken)
    {
        await gate.WaitAsync(CancellationToken.None);
        if (!cancellationToken.IsCancellationRequested)
            return;
        gate.Release();
        cancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>Awaits work that goes on when the caller gives up.</summary>
    public static async Task<T> OrCancelled<T>(this Task<T> task, CancellationToken cancellationToken)
    {
        await ((Task)task).OrCancelled(cancellationToken);
        return await task;
    }

    /// <summary>Awaits work that goes on when the caller gives up.</summary>
    public static async Task OrCancelled(this Task task, CancellationToken cancellationToken)
    {
        if (!task.IsCompleted && cancellationToken.CanBeCanceled)
        {
            var either = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await using var cancelled = cancellationToken.Register(() => either.TrySetResult());
            _ = task.ContinueWith(
                _ => either.TrySetResult(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Current);
            await either.Task;
            if (!task.IsCompleted)
                cancellationToken.ThrowIfCancellationRequested();
        }

        await task;
    }

    /// <summary>Cancels; what waits for the token goes on by its own scheduler.</summary>
    public static void Stop(this CancellationTokenSource source) => source.Cancel();

    /// <summary>Awaits a task whose failure is known elsewhere.</summary>
    public static async Task Quietly(this Task task) =>
        await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
}
