// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>Work that holds its thread, away from the pool.</summary>
internal static class OwnThread
{
    /// <summary>Runs the work on a new thread where it blocks, else right here.</summary>
    public static Task RunAsync(bool isBlocking, Func<Task> work) => isBlocking
        ? Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap()
        : work();
}
