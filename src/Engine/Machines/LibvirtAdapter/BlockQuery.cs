// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>
/// Asks a running QEMU for its disks and their bitmaps. libvirt passes an answer on only up to 4 MiB, some 20 000 bitmaps of a machine
/// with short names, and reads none of more than 10: that breaks its connection to QEMU, and a machine like that does not start.
/// </summary>
internal static class BlockQuery
{
    public const string TooLong =
        "its machine has so many bitmaps that libvirt cannot pass on QEMU's list of them; while it is off it can be backed up, and bitmaps "
        + "that nobody needs can be removed (qemu-img bitmap --remove IMAGE NAME)";

    /// <summary>QEMU's answer; null when it is longer than libvirt can pass on.</summary>
    public static async Task<string?> TryAskAsync(Domain domain, string query, CancellationToken cancellationToken)
    {
        try
        {
            return await domain.QemuMonitorCommandAsync(query, cancellationToken: cancellationToken);
        }
        catch (LibvirtException e) when (IsTooLong(e))
        {
            return null;
        }
    }

    private static bool IsTooLong(LibvirtException e) =>
        e.LibvirtMessage.Contains("Unable to encode message payload", StringComparison.Ordinal)
        || e.LibvirtMessage.Contains("monitor reply exceeds buffer size", StringComparison.Ordinal);
}
