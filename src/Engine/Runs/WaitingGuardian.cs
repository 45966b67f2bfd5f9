// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Runs;

/// <summary>
/// A guardian on its way up, beside what a run does first. The run takes it when it has something to guard; one that nobody took is ended.
/// </summary>
internal sealed class WaitingGuardian : IAsyncDisposable
{
    private readonly Func<GuardianProcess> _start;
    private Task<GuardianProcess>? _waiting;

    /// <param name="start">Starts the process.</param>
    public WaitingGuardian(Func<GuardianProcess> start)
    {
        _start = start;
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
