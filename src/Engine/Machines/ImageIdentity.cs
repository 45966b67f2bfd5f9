// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Tidemark.Engine.Machines;

/// <summary>
/// Which image a disk's bitmap belongs to: path, device, inode and birth time
/// (of a block device: path and what the hardware says of itself). qcow2 carries no identity of its own and
/// all disks share a bitmap's name, so two images swapped under each other's names pass every other check.
/// </summary>
public sealed partial record ImageIdentity(string Path, string Device, string Inode, string Birth)
{
    private const int AtFdCwd = -100;
    private const uint StatxInode = 0x100;
    private const uint StatxBirth = 0x800;
    private const int FileTypeMask = 0xF000;
    private const int BlockDevice = 0x6000;
    private const string Block = "block";
    private const string UnknownBirth = "unknown";

    /// <summary>
    /// The same image, also when it was renamed, or its file system got another device number (after a reboot, or on another host that
    /// has it mounted too). Inode and birth time to the nanosecond are then proof enough; where the birth time is unknown, all must fit.
    /// </summary>
    public bool IsSameImageAs(ImageIdentity other) => this == other
        || (Device != Block && other.Device != Block && Birth != UnknownBirth && Inode == other.Inode && Birth == other.Birth
            && (Path == other.Path || Device == other.Device));

    /// <summary>Reads the identity of the file or block device at <paramref name="path"/>; null when it cannot be read.</summary>
    public static ImageIdentity? Read(string path)
    {
        // struct statx of linux/stat.h: mask @0 u32, ino @32 u64, btime @80 {sec i64, nsec u32}, rdev @128, dev @136 (major, minor u32).
        var statx = new byte[256];
        if (Statx(AtFdCwd, path, 0, StatxInode | StatxBirth, statx) != 0)
            return null;
        var mask = BinaryPrimitives.ReadUInt32LittleEndian(statx);
        var birth = (mask & StatxBirth) == 0
            ? UnknownBirth
            : string.Create(CultureInfo.InvariantCulture, $"{Int64(80)}.{UInt32(88):d9}");
        if ((BinaryPrimitives.ReadUInt16LittleEndian(statx.AsSpan(28)) & FileTypeMask) == BlockDevice
            && HardwareId($"{UInt32(128)}:{UInt32(132)}") is { } hardware)
            return new ImageIdentity(System.IO.Path.GetFullPath(path), Block, hardware, "");
        return new ImageIdentity(
            System.IO.Path.GetFullPath(path),
            $"{UInt32(136)}:{UInt32(140)}",
            BinaryPrimitives.ReadUInt64LittleEndian(statx.AsSpan(32)).ToString(CultureInfo.InvariantCulture),
            birth);

        long Int64(int at) => BinaryPrimitives.ReadInt64LittleEndian(statx.AsSpan(at));
        uint UInt32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(statx.AsSpan(at));
    }

    // A device node is made anew at every boot: what stays is what the hardware or the device mapper says of itself.
    private static string? HardwareId(string number)
    {
        foreach (var name in (string[])["dm/uuid", "wwid", "device/wwid", "serial", "device/serial", "loop/backing_file"])
        {
            var file = $"/sys/dev/block/{number}/{name}";
            if (File.Exists(file) && File.ReadAllText(file).Trim() is { Length: > 0 } id)
                return id;
        }

        return null;
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte[] result);
}
