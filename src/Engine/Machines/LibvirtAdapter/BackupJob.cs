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
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(20);

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
    /// Ends the active job and waits until it is gone, scratch files and all; then wakes a guest that it left paused because
    /// its scratch was full. The caller has closed its NBD connections. False: there was no job (any more).
    /// </summary>
    /// <exception cref="EngineException">It did not end in time.</exception>
    public static async Task<bool> EndAsync(Domain domain, CancellationToken cancellationToken)
    {
        var wasActive = true;
        try
        {
            await domain.AbortJobAsync(cancellationToken);
        }
        catch (LibvirtException e) when (e.Code == LibvirtErrorCode.OperationInvalid)
        {
            wasActive = false; // No job is active, or the domain is off.
        }

        var started = Stopwatch.GetTimestamp();
        while (await IsActiveAsync(domain, cancellationToken))
        {
            if (Stopwatch.GetElapsedTime(started) > EndPatience)
                throw EngineException.Failed($"The backup job of '{domain.Name}' did not end within {EndPatience.TotalSeconds} s.");
            await Task.Delay(Poll, cancellationToken);
        }

        if ((await domain.GetStatusAsync(cancellationToken)).IsIoErrorPause)
            await domain.ResumeAsync(cancellationToken);
        return wasActive;
    }

    private static async Task<bool> IsActiveAsync(Domain domain, CancellationToken cancellationToken)
    {
        try
        {
            return (await domain.GetJobStatsAsync(cancellationToken: cancellationToken)).IsActive;
        }
        catch (LibvirtException e) when (e.Code == LibvirtErrorCode.OperationInvalid)
        {
            return false; // The domain is off.
        }
    }
}
