// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Machines;

/// <summary>The hypervisor refused a base checkpoint that looked right. Nothing was begun; plan that disk in full and try again.</summary>
public sealed class CheckpointUnusableException(string disk, string message) : Exception(message)
{
    /// <summary>The disk whose bitmap it is; empty when the hypervisor did not say.</summary>
    public string Disk { get; } = disk;
}
