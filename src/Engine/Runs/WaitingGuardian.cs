// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Runs;

/// <summary>
/// A guardian on its way up, begun beside what a run does first, since starting a process takes a moment. The run takes it when it has
/// something to guard; one that nobody took is ended.
/// </summary>
internal sealed class WaitingGuardian : IAsyncDisposable
{
    private readonly Func<GuardianProcess> _start;
    private Task<GuardianProcess>? _waiting;

    /// <param name="command">Program and arguments; the hypervisor is added.</param>
    /// <param name="connect">The hypervisor it is to connect to.</param>
    /// <param name="folders">Where journal and locks are.</param>
    public WaitingGuardian(IReadOnlyList<string> command, string? connect, HostFolders folders)
    {
        _start = () => GuardianProcess.Start(command, connect, folders);
        _waiting = StartAsync();
    }

    /// <summary>The one that waits, or another when that was taken; whoever takes it ends it.</summary>
    public Task<GuardianProcess> TakeAsync()
    {
        var taken = _waiting ?? StartAsync();
        _waiting = null;
        return taken;
    }

    public async ValueTask DisposeAsync()
    {
        if (_waiting is not { } unused)
            return;
        await ((Task)unused).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // if it failed: so has the run, for another reason
        if (unused.IsCompletedSuccessfully)
            await (await unused).AbandonAsync();
    }

    private Task<GuardianProcess> StartAsync() => Task.Run(_start, CancellationToken.None);
}
