// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor;
using Tidemark.Engine.Machines.LibvirtAdapter;

namespace Tidemark.Engine.Machines;

/// <summary>Opens the hypervisor that a user names.</summary>
public static class Hypervisors
{
    /// <param name="connect">A libvirt URI of this host; null is libvirt's own default.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="EngineException">It cannot be reached, or is on another host.</exception>
    public static async Task<IHypervisor> ConnectAsync(string? connect, CancellationToken cancellationToken)
    {
        if (connect is not null && RemoteHost(connect) is { } host)
        {
            throw EngineException.Usage(
                $"Hypervisor '{connect}' is on host '{host}'; backups are made on the hypervisor's own host, where sockets, "
                + "scratch files and NVRAM are.",
                $"run tidemark on {host}");
        }

        if (connect is not null && connect.StartsWith("qmp:", StringComparison.Ordinal))
            throw EngineException.Usage($"'{connect}' names a QEMU without libvirt, which this version does not back up.");
        return await LibvirtHypervisor.OpenAsync(connect, cancellationToken);
    }

    /// <summary>Opens the hypervisor to be looked at; as <see cref="ConnectAsync"/>.</summary>
    public static async Task<IExaminer> ExamineAsync(string? connect, CancellationToken cancellationToken)
    {
        var hypervisor = await ConnectAsync(connect, cancellationToken);
        try
        {
            return await LibvirtExaminer.OpenAsync(connect, hypervisor, cancellationToken);
        }
        catch
        {
            await hypervisor.DisposeAsync();
            throw;
        }
    }

    // The host part of a URI that leads elsewhere; null for one that stays here.
    private static string? RemoteHost(string connect)
    {
        if (connect.Split("://", 2) is not [_, var rest] || rest.StartsWith('/'))
            return null;
        if (!Uri.TryCreate(connect, UriKind.Absolute, out var uri) || uri.Host.Length == 0)
            return null;
        return uri.IsLoopback ? null : uri.Host;
    }
}
