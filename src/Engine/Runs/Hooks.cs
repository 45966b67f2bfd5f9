// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Backup;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The user's own commands around the frozen point, run by <c>/bin/sh -c</c> on this host with <c>TIDEMARK_MACHINE</c>,
/// <c>TIDEMARK_MACHINE_UUID</c> and <c>TIDEMARK_HOOK</c> set. What they print goes into the error, nowhere else.
/// </summary>
internal static class Hooks
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Runs the hooks before a freeze, the freeze, and the hooks after the thaw. Those undo what the first ones did, so they run whatever
    /// happened, are owed by the journal until then, and their failure voids nothing.
    /// </summary>
    /// <exception cref="EngineException">A command before the freeze failed, could not be started or ran into the limit.</exception>
    public static async Task<T> AroundAsync<T>(
        BackupOptions options,
        JournalEntry entry,
        Journal journal,
        Action<string> warn,
        Func<Task<T>> freeze,
        CancellationToken cancellationToken)
    {
        try
        {
            if (options.AfterThaw.Count > 0)
                await journal.WriteAsync(entry with { AfterThaw = options.AfterThaw }, cancellationToken);
            await RunAsync("before-freeze", options.BeforeFreeze, entry.MachineName, entry.MachineUuid, cancellationToken);
            return await freeze();
        }
        finally
        {
            try
            {
                await RunAsync("after-thaw", options.AfterThaw, entry.MachineName, entry.MachineUuid, CancellationToken.None);
            }
            catch (EngineException e)
            {
                warn(e.Message);
            }

            if (options.AfterThaw.Count > 0)
                await journal.WriteAsync(entry, CancellationToken.None);
        }
    }

    /// <exception cref="EngineException">A command failed, could not be started or ran into the limit.</exception>
    public static async Task RunAsync(
        string hook, IReadOnlyList<string> commands, string machine, string uuid, CancellationToken cancellationToken)
    {
        foreach (var command in commands)
        {
            var start = new ProcessStartInfo("/bin/sh")
            {
                UseShellExecute = false,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            start.ArgumentList.Add("-c");
            start.ArgumentList.Add(command);
            start.Environment["TIDEMARK_HOOK"] = hook;
            start.Environment["TIDEMARK_MACHINE"] = machine;
            start.Environment["TIDEMARK_MACHINE_UUID"] = uuid;
            await RunOneAsync(hook, command, machine, start, cancellationToken);
        }
    }

    private static async Task RunOneAsync(
        string hook, string command, string machine, ProcessStartInfo start, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Limit);
        using var process = Process.Start(start)
            ?? throw EngineException.Failed($"Hook '{hook}' of machine '{machine}' could not be started: '{command}'.");
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            process.Kill(entireProcessTree: true);
            throw EngineException.Failed(
                $"Hook '{hook}' of machine '{machine}' did not end within {Limit.TotalMinutes} minutes: '{command}'.");
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        if (process.ExitCode != 0)
        {
            var said = ((await errors).Trim() + " " + (await output).Trim()).Trim();
            throw EngineException.Failed(
                $"Hook '{hook}' of machine '{machine}' failed with exit code {process.ExitCode}: '{command}'"
                + (said.Length == 0 ? "." : $" said '{said[..Math.Min(said.Length, 300)]}'."));
        }
    }
}
