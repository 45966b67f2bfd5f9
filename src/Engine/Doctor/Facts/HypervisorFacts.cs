// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Doctor.Facts;

/// <summary>The hypervisor of this host.</summary>
public sealed record HypervisorFacts
{
    /// <summary>The URI that the given one was resolved to.</summary>
    public required string Uri { get; init; }

    public required Version LibvirtVersion { get; init; }

    /// <summary>Of the QEMU that new machines get; null when libvirt does not say.</summary>
    public required Version? QemuVersion { get; init; }

    /// <summary>libvirt's own word that it can back up with this QEMU; null when it says nothing of it.</summary>
    public required bool? SupportsBackup { get; init; }

    /// <summary>libvirt's security drivers: <c>dac</c>, <c>apparmor</c>, <c>selinux</c>.</summary>
    public required IReadOnlyList<string> SecurityModels { get; init; }

    /// <summary>User and group that QEMU runs as unless a machine says otherwise; null when unknown.</summary>
    public required (uint User, uint Group)? QemuOwner { get; init; }

    /// <summary>The system's libvirt, not a user's own.</summary>
    public bool IsSystem => Uri.Contains("/system", StringComparison.Ordinal);
}
