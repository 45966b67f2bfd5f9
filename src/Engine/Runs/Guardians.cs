// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Runs;

/// <summary>
/// Starts the guardians of one call, each as a process of its own. One may be started ahead, before it is known which machine it will
/// watch: that takes a moment, and it guards nothing until it is told what.
/// </summary>
/// <param name="command">Program and arguments; the hypervisor is added.</param>
/// <param name="connect">The hypervisor they are to connect to; null for libvirt's default.</param>
/// <param name="folders">Where journal and locks are.</param>
public sealed class Guardians(IReadOnlyList<string> command, string? connect, HostFolders folders) : IAsyncDisposable
{
    private WaitingGuardian? _ahead;

    /// <summary>Starts one for the first run. Then this is to be disposed.</summary>
    public void StartAhead() => _ahead ??= Wait();

    public ValueTask DisposeAsync() => Interlocked.Exchange(ref _ahead, null)?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>One that waits for a run to take it: the one that was started ahead, or a new one. The run disposes it.</summary>
    internal WaitingGuardian ForRun() => Interlocked.Exchange(ref _ahead, null) ?? Wait();

    private WaitingGuardian Wait() => new(() => GuardianProcess.Start(command, connect, folders));
}
