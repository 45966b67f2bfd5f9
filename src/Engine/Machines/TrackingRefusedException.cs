// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Machines;

/// <summary>A disk that should carry a bitmap got none, because its image has no place for one: plan without, try again.</summary>
public sealed class TrackingRefusedException(string disk, string reason) : Exception($"Disk '{disk}' cannot be tracked: {reason}.")
{
    public string Disk { get; } = disk;

    /// <summary>In the hypervisor's words, without a full stop.</summary>
    public string Reason { get; } = reason;
}
