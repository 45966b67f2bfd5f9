// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>
/// How writes to a raw image or block device come to be tracked: a small qcow2 in front of it, whose data file it becomes; its content
/// stays where it is and raw. <c>qemu-img create</c> must never be given the disk itself as data file: it empties a file, and zeroes
/// a device's first sector. So the qcow2 is made with an empty stand-in and then turned to the disk.
/// </summary>
public static class RawTracking
{
    /// <summary>Commands for a shell, while the machine is off; the last thing to do is a change of its definition.</summary>
    public static string Commands(string machine, MachineDisk disk, string path)
    {
        var image = disk.Kind == "block" ? $"/var/lib/libvirt/images/{machine}-{disk.Name}.qcow2" : path + ".qcow2";
        return $"while '{machine}' is off: {Prepare(path, image, disk.Size)}; then virsh edit {machine}: <driver type='qcow2'/> and "
            + $"<source file='{image}'/> in a <disk type='file'>; {OwnerHint(disk.Kind, path)}";
    }

    /// <summary>The commands that make <paramref name="image"/>, and compare it with the disk.</summary>
    /// <param name="path">The raw image or block device; only read.</param>
    /// <param name="image">The qcow2 to make.</param>
    /// <param name="size">Of the disk, bytes.</param>
    public static string Prepare(string path, string image, long size)
    {
        var (disk, qcow2, standIn) = (Shell.Quote(path), Shell.Quote(image), Shell.Quote(image + ".empty"));
        var (diskOption, standInOption) = (Option(path), Option(image + ".empty"));
        return string.Create(
            CultureInfo.InvariantCulture,
            $"truncate -s {size} {standIn} && qemu-img create -q -f qcow2 -o data_file={standInOption},data_file_raw=on {qcow2} {size} && "
            + $"qemu-img amend -f qcow2 -o data_file={diskOption} {qcow2} && rm {standIn} && qemu-img compare -f raw -F qcow2 "
            + $"{disk} {qcow2}");
    }

    // In a list of options a comma is written twice.
    private static string Option(string path) => Shell.Quote(path.Replace(",", ",,", StringComparison.Ordinal));

    // libvirt gives the qcow2 to QEMU's user at each start, but not the data file behind it, which it does not know.
    private static string OwnerHint(string kind, string path) => kind == "block"
        ? $"a udev rule must give {Shell.Quote(path)} to QEMU's user"
        : $"chown {Shell.Quote(path)} to QEMU's user (libvirt-qemu or qemu)";
}
