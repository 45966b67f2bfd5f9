// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Tidemark.Qemu;

/// <summary>
/// Starts every child process from one thread that lives as long as we do. The kernel sends a child its parent-death signal when the
/// <em>thread</em> that started it ends, so a child started from a pool thread would be ended as soon as the pool shrinks.
/// </summary>
internal static partial class ProcessStarter
{
    public const int Terminate = 15;
    public const int KillNow = 9;

    private static readonly BlockingCollection<Action> Work = [];

    static ProcessStarter() => new Thread(Loop) { IsBackground = true, Name = "process starter" }.Start();

    public static Task<Process> StartAsync(ProcessStartInfo start)
    {
        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        Work.Add(() =>
        {
            try
            {
                started.SetResult(Process.Start(start)!);
            }
            catch (Exception e)
            {
                started.SetException(e);
            }
        });
        return started.Task;
    }

    /// <summary>Sends a signal to a child that was not waited for yet; its id can't belong to another process before that.</summary>
    public static void Signal(Process process, int signal) => Signal(process.Id, signal);

    /// <summary>Sends a signal to a process that the caller has just made sure of.</summary>
    public static void Signal(int processId, int signal) => _ = Kill(processId, signal);

    private static void Loop()
    {
        foreach (var work in Work.GetConsumingEnumerable())
            work();
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int processId, int signal);
}
