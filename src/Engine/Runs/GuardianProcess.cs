// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The worker's end of a guardian: a child process started before the freeze, which sees the worker die (the pipe ends) and
/// puts the machine right without it. See <see cref="Guardian"/> for the other end.
/// </summary>
internal sealed class GuardianProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan ExitLimit = TimeSpan.FromSeconds(5);

    private readonly Process _process;
    private readonly SemaphoreSlim _gate = new(1, 1);

    private GuardianProcess(Process process) => _process = process;

    /// <param name="command">Program and arguments; the journal entry's file is added.</param>
    /// <param name="journalFile">The run's journal entry.</param>
    /// <param name="folders">Where journal and locks are, for the child's environment.</param>
    /// <param name="cancellationToken">Ends the wait for it to be ready.</param>
    /// <exception cref="EngineException">It did not become ready: without a guardian nothing is frozen.</exception>
    public static async Task<GuardianProcess> StartAsync(
        IReadOnlyList<string> command, string journalFile, HostFolders folders, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(command[0])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        foreach (var argument in command.Skip(1).Append(journalFile))
            start.ArgumentList.Add(argument);
        start.Environment["TIDEMARK_STATE"] = folders.State;
        start.Environment["TIDEMARK_SCRATCH"] = folders.Scratch;
        var process = Process.Start(start) ?? throw EngineException.Failed($"The guardian '{command[0]}' could not be started.");
        var guardian = new GuardianProcess(process);
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(StartLimit);
            if (await process.StandardOutput.ReadLineAsync(limit.Token) == nameof(GuardianSignal.Ready))
                return guardian;
            var said = (await process.StandardError.ReadToEndAsync(limit.Token)).Trim();
            throw EngineException.Failed($"The guardian did not start; nothing was frozen. It said: '{said}'.");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await guardian.AbandonAsync();
            throw EngineException.Failed($"The guardian was not ready within {StartLimit.TotalSeconds} s; nothing was frozen.");
        }
        catch
        {
            await guardian.AbandonAsync();
            throw;
        }
    }

    // Nothing was begun, so nothing needs guarding: left alone, it would wait for a lock that its worker holds.
    private ValueTask AbandonAsync()
    {
        _process.Kill();
        return DisposeAsync();
    }

    public Task FreezeChangedAsync(FreezeState state) =>
        TellAsync(state == FreezeState.MayBeFrozen ? GuardianSignal.MayBeFrozen : GuardianSignal.Thawed);

    /// <exception cref="EngineException">The guardian is gone: the run must not go on without it.</exception>
    public async Task TellAsync(GuardianSignal signal)
    {
        await _gate.WaitAsync();
        try
        {
            await _process.StandardInput.WriteAsync(signal + "\n");
            await _process.StandardInput.FlushAsync();
        }
        catch (IOException e)
        {
            throw EngineException.Failed("The guardian of this run died; the run is given up.", inner: e);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Lets it go. Without <see cref="GuardianSignal.Done"/> before, it takes this for the worker's death.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It is gone already; nothing is left to tell.
        }

        using var limit = new CancellationTokenSource(ExitLimit);
        try
        {
            await _process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            // It has work left (a thaw that is owed, a dead run to clean); it ends by itself.
        }

        _process.Dispose();
        _gate.Dispose();
    }
}
