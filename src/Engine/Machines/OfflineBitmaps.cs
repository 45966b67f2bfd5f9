// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines.LibvirtAdapter;
using Tidemark.Qemu;

namespace Tidemark.Engine.Machines;

/// <summary>The bitmaps of a machine that is off, in its images.</summary>
internal static class OfflineBitmaps
{
    /// <summary>The machine with the bitmaps, and qcow2 versions, of its images; adds a sentence for each that cannot be read.</summary>
    public static async Task<Machine> ReadAsync(Machine machine, List<string> unseen, CancellationToken cancellationToken)
    {
        var disks = new List<MachineDisk>();
        foreach (var disk in machine.Disks)
            disks.Add(disk is { Format: "qcow2", Path: { } path } ? await ReadAsync(disk, path, unseen, cancellationToken) : disk);
        return machine with { Disks = disks };
    }

    /// <summary>
    /// Removes bitmaps from the images of the machine's disks. Of lower images only those that the one on top has too are taken: such an
    /// image may be another machine's disk, with bitmaps of its own.
    /// </summary>
    /// <exception cref="ImageToolException">An image is in use or cannot be written.</exception>
    public static async Task RemoveAsync(Machine machine, IReadOnlySet<string> bitmaps, CancellationToken cancellationToken)
    {
        foreach (var disk in machine.Disks)
        {
            if (disk is not { Format: "qcow2", Path: { } path })
                continue;
            var names = new HashSet<string>(bitmaps, StringComparer.Ordinal);
            for (ImageRef? at = ImageRef.File(path, disk.Format); at is { } image;)
            {
                var info = await QemuImg.InfoAsync(image, cancellationToken);
                names.IntersectWith(info.Bitmaps.Select(bitmap => bitmap.Name));
                foreach (var name in names)
                    await QemuImg.RemoveBitmapAsync(image, name, cancellationToken);
                at = names.Count > 0 && info is { FullBackingPath: { } below, BackingFormat: "qcow2" } && below.StartsWith('/')
                    ? ImageRef.File(below, "qcow2")
                    : null;
            }
        }
    }

    private static async Task<MachineDisk> ReadAsync(
        MachineDisk disk, string path, List<string> unseen, CancellationToken cancellationToken)
    {
        try
        {
            // Without a lock: the machine may be starting.
            var info = await QemuImg.InfoAsync(ImageRef.File(path, disk.Format), cancellationToken, inUse: true);
            return disk with
            {
                Bitmaps = info.Bitmaps.ToDictionary(
                    bitmap => bitmap.Name,
                    bitmap => bitmap is { InUse: false, Records: true } ? BitmapHealth.Recording : BitmapHealth.Broken,
                    StringComparer.Ordinal),
                Untrackable = disk.Untrackable ?? DiskProtection.WhyUntracked(disk.Format, info.Compat),
            };
        }
        catch (ImageToolException e)
        {
            unseen.Add($"The image of disk '{disk.Name}' could not be looked at: {e.Message}");
            return disk;
        }
    }
}
