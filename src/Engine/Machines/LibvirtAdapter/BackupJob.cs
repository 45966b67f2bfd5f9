// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>The backup job of a domain: whose it is, and its end.</summary>
internal static class BackupJob
{
    // libvirt handles the events of all its domains in one queue; one hung agent there delays the end of our job.
    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(100);

    private static readonly TimeSpan EndLimit = EndPatience + TimeSpan.FromSeconds(20);

    // A job that was only beginning takes no notice of the first request.
    private static readonly TimeSpan AbortAgain = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan FirstPoll = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LongestPoll = TimeSpan.FromMilliseconds(20);

    /// <summary>The active backup job, if any, serves from this socket.</summary>
    public static async Task<bool> IsOursAsync(Domain domain, string socket, CancellationToken cancellationToken)
    {
        try
        {
            return BackupXml.Read(await domain.GetBackupXmlAsync(cancellationToken)).SocketPath == socket;
        }
        catch (LibvirtNotFoundException)
        {
            return false;
        }
        catch (LibvirtException e) when (e.Code is LibvirtErrorCode.OperationInvalid or LibvirtErrorCode.NoBackup)
        {
            return false;
        }
    }

    /// <summary>
    /// Ends the job that serves from this socket and waits until it is gone, scratch files and all; then wakes a guest that it
    /// left paused because its scratch was full, even when the job was over already. Other jobs, also one that begins meanwhile,
    /// are left alone. The caller has closed its NBD connections. False: there was no such job (any more).
    /// </summary>
    /// <exception cref="EngineException">It did not end in time.</exception>
    public static Task<bool> EndAsync(Domain domain, string socket, CancellationToken cancellationToken) =>
        LibvirtFailures.WithinAsync(domain.Name, EndLimit, () => EndNowAsync(domain, socket, cancellationToken));

    private static async Task<bool> EndNowAsync(Domain domain, string socket, CancellationToken cancellationToken)
    {
        var wasActive = await IsOursAsync(domain, socket, cancellationToken) && await TryAbortAsync(domain, cancellationToken);
        var (started, aborted) = (Stopwatch.GetTimestamp(), Stopwatch.GetTimestamp());
        for (var pause = FirstPoll; await IsOursAsync(domain, socket, cancellationToken);)
        {
            if (Stopwatch.GetElapsedTime(started) > EndPatience)
                throw EngineException.Failed($"The backup job of '{domain.Name}' did not end within {EndPatience.TotalSeconds} s.");
            if (Stopwatch.GetElapsedTime(aborted) > AbortAgain)
            {
                await TryAbortAsync(domain, cancellationToken);
                aborted = Stopwatch.GetTimestamp();
            }

            await Task.Delay(pause, cancellationToken);
            pause = pause * 2 < LongestPoll ? pause * 2 : LongestPoll;
        }

        await WakeAsync(domain, cancellationToken);
        return wasActive;
    }

    private static async Task WakeAsync(Domain domain, CancellationToken cancellationToken)
    {
        try
        {
            if ((await domain.GetStatusAsync(cancellationToken)).IsIoErrorPause)
                await domain.ResumeAsync(cancellationToken);
        }
        catch (LibvirtNotFoundException)
        {
            // A transient machine that has stopped is gone altogether.
        }
    }

    private static async Task<bool> TryAbortAsync(Domain domain, CancellationToken cancellationToken)
    {
        try
        {
            await domain.AbortJobAsync(cancellationToken);
            return true;
        }
        catch (LibvirtException e) when (e.Code == LibvirtErrorCode.OperationInvalid)
        {
            return false; // No job is active, or the domain is off.
        }
    }
}
