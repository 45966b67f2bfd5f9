// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Diagnostics;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The worker's end of a guardian: a child process that, once it was told what to guard, sees the worker die (the pipe ends) and
/// puts the machine right without it. It is started before the run needs it, since it takes a moment to be up. See
/// <see cref="Guardian"/> for the other end.
/// </summary>
internal sealed class GuardianProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan ExitLimit = TimeSpan.FromSeconds(5);

    private readonly Process _process;
    private readonly SemaphoreSlim _gate = new(1, 1);

    private GuardianProcess(Process process) => _process = process;

    /// <summary>Starts the process, without waiting for it.</summary>
    /// <param name="command">Program and arguments; the hypervisor is added.</param>
    /// <param name="connect">The hypervisor it is to connect to.</param>
    /// <param name="folders">Where journal and locks are, for the child's environment.</param>
    public static GuardianProcess Start(IReadOnlyList<string> command, string? connect, HostFolders folders)
    {
        var start = new ProcessStartInfo(command[0])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        foreach (var argument in command.Skip(1).Append(connect ?? ""))
            start.ArgumentList.Add(argument);
        start.Environment["TIDEMARK_STATE"] = folders.State;
        start.Environment["TIDEMARK_SCRATCH"] = folders.Scratch;
        var process = Process.Start(start) ?? throw EngineException.Failed($"The guardian '{command[0]}' could not be started.");
        return new GuardianProcess(process);
    }

    /// <summary>Starts one that gets nothing to guard, so that it ends when it has reached the hypervisor. Null when that worked.</summary>
    public static async Task<string?> WhyNotAsync(
        IReadOnlyList<string> command, string? connect, HostFolders folders, CancellationToken cancellationToken)
    {
        try
        {
            using var process = Start(command, connect, folders)._process;
            process.StandardInput.Close();
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(StartLimit);
            var said = process.StandardError.ReadToEndAsync(limit.Token);
            try
            {
                await process.WaitForExitAsync(limit.Token);
                return process.ExitCode == 0 ? null : (await said).Trim();
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                process.Kill();
                return $"it was not ready within {StartLimit.TotalSeconds} s.";
            }
        }
        catch (Win32Exception e)
        {
            return e.Message;
        }
    }

    /// <summary>Tells it what to guard, and waits until it does.</summary>
    /// <param name="entry">The run, whose journal entry is written.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="EngineException">It did not become ready: without a guardian nothing is frozen.</exception>
    public async Task GuardAsync(JournalEntry entry, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(StartLimit);
        try
        {
            await _process.StandardInput.WriteAsync((Guardian.Watched(entry) + "\n").AsMemory(), limit.Token);
            await _process.StandardInput.FlushAsync(limit.Token);
        }
        catch (IOException)
        {
            // It has ended; what it said is read below.
        }

        try
        {
            if (await _process.StandardOutput.ReadLineAsync(limit.Token) == nameof(GuardianSignal.Ready))
                return;
            var said = (await _process.StandardError.ReadToEndAsync(limit.Token)).Trim();
            throw EngineException.Failed($"The guardian did not start; nothing was frozen. It said: '{said}'.");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw EngineException.Failed($"The guardian was not ready within {StartLimit.TotalSeconds} s; nothing was frozen.");
        }
    }

    /// <summary>Ends one that guards nothing, as nothing was begun: left alone, it would wait for a lock that its worker holds.</summary>
    public ValueTask AbandonAsync()
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
