// SPDX-License-Identifier: Apache-2.0
using Tidemark.Qemu;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>The bitmaps of a machine that is off, as its images hold them.</summary>
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

    private static async Task<MachineDisk> ReadAsync(MachineDisk disk, string path, List<string> unseen, CancellationToken cancellationToken)
    {
        try
        {
            var info = await QemuImg.InfoAsync(ImageRef.File(path, disk.Format), cancellationToken);
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
