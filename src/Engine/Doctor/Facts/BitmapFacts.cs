// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Doctor.Facts;

/// <summary>The bitmaps of a machine, and the hypervisor's records of checkpoints.</summary>
public sealed record BitmapFacts
{
    /// <summary>Of a machine that is off, the bitmaps are those in its images.</summary>
    public required Machine Machine { get; init; }

    /// <summary>Checkpoints that the hypervisor has records of, parents first.</summary>
    public required IReadOnlyList<CheckpointRecord> Checkpoints { get; init; }

    /// <summary>Bytes written since, by disk and bitmap, in whole pieces of the bitmap's granularity; only what a running QEMU says of
    /// disks whose bitmap lies in one image.</summary>
    public required IReadOnlyDictionary<(string Disk, string Bitmap), long> ChangedBytes { get; init; }

    /// <summary>What could not be looked at, a sentence each.</summary>
    public required IReadOnlyList<string> Unseen { get; init; }
}
