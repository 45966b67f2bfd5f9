// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Tests;

/// <summary>The plan of a disk "vda" that no hypervisor knows, in chunks of 64 KiB.</summary>
internal static class PlannedDisk
{
    /// <summary>A tracked disk of so many bytes: in full, or its changes since <paramref name="last"/>.</summary>
    public static DiskPlan Of(long size, RestorePoint? last = null) => new()
    {
        Disk = new MachineDisk
        {
            Name = "vda",
            Kind = "file",
            Format = "qcow2",
            Path = null,
            Serial = null,
            Size = size,
            Identity = null,
            Untrackable = null,
            Bitmaps = new Dictionary<string, BitmapHealth>(StringComparer.Ordinal),
        },
        Base = last is null ? null : "before",
        Previous = last is null ? null : PointDocuments.Previous(last, last.Disk("vda")),
        Reason = "planned",
        Track = true,
        FellBack = false,
        ChunkLog2 = 16,
    };
}
