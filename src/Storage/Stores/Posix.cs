// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage;

/// <summary>The calls of a folder store that the BCL lacks: link(2), fsync(2) of a folder, preadv2(2), posix_fadvise(2),
/// flock(2).</summary>
internal static partial class Posix
{
    public const int ErrnoExists = 17; // EEXIST
    private const int ErrnoMissing = 2; // ENOENT
    private const int ErrnoNotFolder = 20; // ENOTDIR: a file where a folder of the path would be
    private const int ErrnoStale = 116; // ESTALE: a network file system knew the name, and the file is gone
    private const int OpenDirectory = 0x10000; // O_DIRECTORY on x86-64
    private const int OpenDirectoryArm = 0x4000; // O_DIRECTORY on arm64
    private const int NoWait = 8; // RWF_NOWAIT
    private const int AdviceDontNeed = 4; // POSIX_FADV_DONTNEED
    private const int LockShared = 1; // LOCK_SH
    private const int CloseOnExec = 0x80000; // O_CLOEXEC
    private const int NonBlocking = 0x800; // O_NONBLOCK: a FIFO that somebody put there must not hold us

    /// <summary>Gives a file a second name; false when that name exists.</summary>
    /// <exception cref="IOException">Anything else; HResult is errno.</exception>
    public static bool Link(string existing, string name)
    {
        if (LinkNative(existing, name) == 0)
            return true;
        var errno = Marshal.GetLastPInvokeError();
        return errno == ErrnoExists ? false : throw Failure("link", name, errno);
    }

    /// <summary>Removes a name; false when there is none.</summary>
    /// <exception cref="IOException">Anything else; HResult is errno.</exception>
    public static bool Unlink(string path)
    {
        if (UnlinkNative(path) == 0)
            return true;
        var errno = Marshal.GetLastPInvokeError();
        return errno == ErrnoMissing ? false : throw Failure("unlink", path, errno);
    }

    /// <summary>
    /// Makes the client of a network file system look a name up on the server, which it does where something is to be made under the
    /// name. Only for names that were there: they never come back, so nobody is disturbed by a folder there for a moment.
    /// </summary>
    public static void AskAgain(string path)
    {
        if (MkdirNative(path, 0x1C0) == 0)
            _ = RmdirNative(path);
    }

    /// <summary>Whether a file can be opened for reading; false when there is none.</summary>
    /// <exception cref="IOException">Anything else; HResult is errno.</exception>
    public static bool CanOpen(string path)
    {
        var descriptor = OpenNative(path, CloseOnExec | NonBlocking);
        if (descriptor >= 0)
        {
            _ = CloseNative(descriptor);
            return true;
        }

        var errno = Marshal.GetLastPInvokeError();
        return errno is ErrnoMissing or ErrnoNotFolder or ErrnoStale ? false : throw Failure("open", path, errno);
    }

    /// <summary>Reads what is in the page cache and stops where the device would have to be asked; the number of bytes.</summary>
    public static unsafe int ReadCached(SafeFileHandle file, long offset, Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            var vector = new IoVector((nint)start, (nuint)buffer.Length);
            return (int)Math.Max(0, PreadvNative(file, &vector, 1, offset, NoWait)); // whatever is wrong, an ordinary read tells
        }
    }

    /// <summary>Makes the names in a folder durable.</summary>
    public static void SyncFolder(string path)
    {
        var directoryFlag = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? OpenDirectoryArm : OpenDirectory;
        var descriptor = OpenNative(path, directoryFlag | CloseOnExec);
        if (descriptor < 0)
            throw Failure("open", path, Marshal.GetLastPInvokeError());
        var result = FsyncNative(descriptor);
        var errno = Marshal.GetLastPInvokeError();
        _ = CloseNative(descriptor);
        if (result != 0)
            throw Failure("fsync", path, errno);
    }

    /// <summary>Takes what of a file is on the medium already out of the page cache. Only a hint: a failure costs nothing.</summary>
    public static void DropCache(SafeFileHandle file) => _ = FadviseNative(file, 0, 0, AdviceDontNeed);

    /// <summary>Turns this process's exclusive lock on a file into a shared one.</summary>
    public static void ShareLock(SafeFileHandle file) => _ = LockNative(file, LockShared);

    private static IOException Failure(string call, string path, int errno) =>
        new($"{call} of '{path}' failed: {Marshal.GetPInvokeErrorMessage(errno)}.", errno);

    [LibraryImport("libc", EntryPoint = "preadv2")]
    private static unsafe partial nint PreadvNative(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LinkNative(string existing, string name);

    [LibraryImport("libc", EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MkdirNative(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RmdirNative(string path);

    [LibraryImport("libc", EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnlinkNative(string path);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenNative(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FsyncNative(int descriptor);

    [LibraryImport("libc", EntryPoint = "posix_fadvise64")]
    private static partial int FadviseNative(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "flock")]
    private static partial int LockNative(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int CloseNative(int descriptor);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct IoVector(nint Start, nuint Length);
}
