// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

/// <summary>
/// Runs a libvirt call on a thread of its own: any call may wait 30 s for a job lock, which would starve the thread pool when several
/// machines are busy. A call that has started is always awaited, because giving up on it would leave its effect unknown; cancellation
/// is seen before it starts.
/// </summary>
internal static class BlockingCall
{
    private static readonly BlockingThreads Threads = new();

    internal static Task<T> RunAsync<T>(Func<T> call, CancellationToken cancellationToken) =>
        Task.Factory.StartNew(call, cancellationToken, TaskCreationOptions.DenyChildAttach, Threads);
}
