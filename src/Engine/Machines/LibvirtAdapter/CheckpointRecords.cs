// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>libvirt's records of checkpoints: metadata of the daemon, apart from the bitmaps in the images.</summary>
internal static class CheckpointRecords
{
    public static async Task<IReadOnlyList<CheckpointRecord>> ReadAsync(Domain domain, CancellationToken cancellationToken) =>
        (await domain.ReadCheckpointsAsync(cancellationToken)).Select(CheckpointXml.Read).Select(found => new CheckpointRecord
        {
            Name = found.Name,
            Created = found.CreationTime ?? DateTimeOffset.UnixEpoch,
            Parent = found.Parent,
            Disks = found.Disks.Where(disk => disk.HasBitmap).Select(disk => new TrackedDisk(disk.Target)).ToList(),
        }).ToList();

    public static async Task RedefineAsync(Domain domain, CheckpointRecord checkpoint, CancellationToken cancellationToken)
    {
        var xml = CheckpointXml.Write(new CheckpointDescription(
            checkpoint.Name, checkpoint.Disks.Select(disk => new CheckpointDisk(disk.Name, HasBitmap: true)).ToList())
        {
            Parent = checkpoint.Parent,
            CreationTime = checkpoint.Created,
        });
        // libvirt can ask the bitmaps only of a QEMU that runs.
        var flags = (await domain.GetStatusAsync(cancellationToken)).IsActive
            ? CheckpointCreateFlags.Redefine | CheckpointCreateFlags.Validate
            : CheckpointCreateFlags.Redefine;
        try
        {
            await domain.CreateCheckpointAsync(xml, flags, cancellationToken);
        }
        catch (LibvirtException e) when (e.Code == LibvirtErrorCode.CheckpointInconsistent)
        {
            throw new CheckpointUnusableException("", e.LibvirtMessage);
        }
    }

    public static async Task ForgetAsync(Domain domain, string checkpoint, CancellationToken cancellationToken)
    {
        try
        {
            await domain.DeleteCheckpointAsync(checkpoint, CheckpointDeleteFlags.MetadataOnly, cancellationToken);
        }
        catch (LibvirtNotFoundException) when (!cancellationToken.IsCancellationRequested)
        {
            // Gone already: that is what was wanted.
        }
    }
}
