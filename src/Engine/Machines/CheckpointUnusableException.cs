// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Machines;

/// <summary>A base checkpoint looked right, and the hypervisor or the disk says otherwise: plan that disk in full, try again.</summary>
public sealed class CheckpointUnusableException(string disk, string message) : Exception(message)
{
    /// <summary>The disk whose bitmap it is; empty when the hypervisor did not say.</summary>
    public string Disk { get; } = disk;

    /// <summary>What the planner is to think of the bitmap.</summary>
    public BitmapHealth Health { get; init; } = BitmapHealth.Broken;
}
