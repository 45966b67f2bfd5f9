// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text;
using Tidemark.Engine.Backup;
using Tidemark.Qemu;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The user's own commands around the frozen point, run by <c>/bin/sh -c</c> on this host with <c>TIDEMARK_MACHINE</c>,
/// <c>TIDEMARK_MACHINE_UUID</c> and <c>TIDEMARK_HOOK</c> set, in a session of their own: Ctrl-C is for the backup, and a hook that undoes
/// another must not be ended by it. What they print goes into the error, nowhere else.
/// </summary>
internal static class Hooks
{
    private const int ToldLength = 300;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    // What a hook left in the background may hold its output open for ever.
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

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
            var start = new ProcessStartInfo(ToolPath.Find("setsid"))
            {
                UseShellExecute = false,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            foreach (var argument in (string[])["/bin/sh", "-c", command])
                start.ArgumentList.Add(argument);
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
        var said = new StringBuilder();
        var reading = Task.WhenAll(ReadAsync(process.StandardError, said), ReadAsync(process.StandardOutput, said));
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

        if (process.ExitCode == 0)
            return;
        await reading.WaitAsync(LastWords, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        string words;
        lock (said)
            words = said.ToString().Trim();
        throw EngineException.Failed(
            $"Hook '{hook}' of machine '{machine}' failed with exit code {process.ExitCode}: '{command}'"
            + (words.Length == 0 ? "." : $" said '{words}'."));
    }

    // The first of it is kept; the rest is read so that whoever writes does not stand still.
    private static async Task ReadAsync(StreamReader reader, StringBuilder said)
    {
        var buffer = new char[1024];
        try
        {
            for (int count; (count = await reader.ReadAsync(buffer)) > 0;)
            {
                lock (said)
                    said.Append(buffer, 0, Math.Min(count, ToldLength - said.Length));
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The hook is over, and its process let go, while something that it left still holds the pipe.
        }
    }
}
