// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Engine.Native;

/// <summary>The few calls on files that .NET does not have.</summary>
internal static partial class FileCalls
{
    private const int SeekData = 3;
    private const int SeekHole = 4;
    private const int SeekEnd = 2;
    private const int NoSuchAddress = 6; // ENXIO: no data after the offset
    private const int KeepSize = 1;
    private const int PunchHole = 2;
    private const int ZeroRange = 0x10;
    private const int AdviceDontNeed = 4;
    private const int ReadWrite = 2;
    private const int Exclusive = 0x80;
    private const int AtFdCwd = -100;
    private const uint StatxType = 1;
    private const uint StatxOwner = 0x18;
    private const int CloseOnExec = 0x80000;
    private const int WriteAndEnter = 3;

    /// <summary>Opens a block device for writing; refused while it is mounted or used by the device mapper.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static SafeFileHandle OpenExclusive(string path)
    {
        var handle = Open(path, ReadWrite | Exclusive | CloseOnExec, 0);
        if (!handle.IsInvalid)
            return handle;
        handle.Dispose();
        throw Failed($"open of '{path}'");
    }

    /// <summary>Start of the first data at or after <paramref name="offset"/>; null when only a hole follows.</summary>
    public static long? NextData(SafeFileHandle file, long offset)
    {
        var at = Seek(file, offset, SeekData);
        if (at >= 0)
            return at;
        return Marshal.GetLastPInvokeError() == NoSuchAddress ? null : throw Failed("lseek");
    }

    /// <summary>Start of the first hole at or after <paramref name="offset"/>; the end of the file counts as one.</summary>
    public static long NextHole(SafeFileHandle file, long offset)
    {
        var at = Seek(file, offset, SeekHole);
        return at >= 0 ? at : throw Failed("lseek");
    }

    /// <summary>Size of a file or block device, bytes.</summary>
    public static long SizeOf(SafeFileHandle file)
    {
        var at = Seek(file, 0, SeekEnd);
        return at >= 0 ? at : throw Failed("lseek");
    }

    /// <summary>Zeroes a range, as a hole where possible; false when the file or device can do neither.</summary>
    public static bool TryZero(SafeFileHandle file, long offset, long length) =>
        Fallocate(file, PunchHole | KeepSize, offset, length) == 0
        || Fallocate(file, ZeroRange | KeepSize, offset, length) == 0;

    /// <summary>Drops clean pages, so that the next read comes from the medium.</summary>
    public static void DropCache(SafeFileHandle file) => _ = Fadvise(file, 0, 0, AdviceDontNeed);

    /// <summary>Gives a file or folder to another user.</summary>
    /// <exception cref="IOException">The caller may not.</exception>
    public static void GiveTo(string path, uint user, uint group)
    {
        if (Chown(path, user, group) != 0)
            throw Failed($"chown of '{path}'");
    }

    /// <summary>Creates an empty file that only its owner can use; made by root, it belongs to the folder's owner.</summary>
    public static void CreatePrivate(string path, string likeFolder)
    {
        new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }).Dispose();
        if (Environment.IsPrivilegedProcess && OwnerOf(likeFolder) is { } owner)
            GiveTo(path, owner.User, owner.Group);
    }

    /// <summary>Owner of a file or folder; null when it cannot be read.</summary>
    public static (uint User, uint Group)? OwnerOf(string path)
    {
        // struct statx of linux/stat.h: uid @20, gid @24.
        var statx = new byte[256];
        return Statx(AtFdCwd, path, 0, StatxOwner, statx) == 0
            ? (BitConverter.ToUInt32(statx, 20), BitConverter.ToUInt32(statx, 24))
            : null;
    }

    /// <summary>This user may make and remove files in a folder; false also where the file system is read-only.</summary>
    public static bool IsWritable(string folder) => Access(folder, WriteAndEnter) == 0;

    /// <summary>Makes the names in a folder durable.</summary>
    /// <exception cref="IOException">It cannot be done.</exception>
    public static void SyncFolder(string path)
    {
        using var handle = Open(path, CloseOnExec, 0);
        if (handle.IsInvalid || Fsync(handle) != 0)
            throw Failed($"fsync of folder '{path}'");
    }

    public static bool IsBlockDevice(string path)
    {
        // struct statx: mode @28.
        var statx = new byte[256];
        return Statx(AtFdCwd, path, 0, StatxType, statx) == 0 && (BitConverter.ToUInt16(statx, 28) & 0xF000) == 0x6000;
    }

    private static IOException Failed(string call) =>
        new($"{call} failed: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.");

    [LibraryImport("libc", EntryPoint = "open64", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial SafeFileHandle Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "lseek64", SetLastError = true)]
    private static partial long Seek(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "fallocate64", SetLastError = true)]
    private static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "posix_fadvise64", SetLastError = true)]
    private static partial int Fadvise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte[] result);

    [LibraryImport("libc", EntryPoint = "chown", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Chown(string path, uint user, uint group);

    [LibraryImport("libc", EntryPoint = "access", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Access(string path, int mode);
}
