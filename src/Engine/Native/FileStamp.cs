// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Engine.Native;

/// <summary>
/// What a file or block device says of itself that any write to it changes: which it is, its size, and the times of its last change;
/// of a block device also how much the kernel has written to it, since writes leave the times of a device alone.
/// Two equal stamps mean that nobody wrote between them, if the first one was old enough when it was taken (<see cref="SettledAsync"/>).
/// </summary>
internal sealed partial record FileStamp
{
    private const int AtFdCwd = -100;
    private const int ForceSync = 0x2000; // ask a file server, not a cache
    private const uint BasicStats = 0x7ff;
    private const int TypeMask = 0xF000;
    private const int BlockDevice = 0x6000;
    private const int RegularFile = 0x8000;
    private const int CloseOnExec = 0x80000;
    private const int NonBlocking = 0x800;
    private const int GetOpenFileLock = 36; // F_OFD_GETLK
    private const short WriteLock = 1;
    private const short Unlocked = 2;
    private const int SettleTries = 3;

    // QEMU's own locks: who has the permission to write to an image holds byte 101, 102 or 103 of it (block/file-posix.c).
    private const long FirstWriterByte = 101;
    private const long WriterBytes = 3;

    // The kernel stamps with the time of its last tick, at least every 10 ms; whole seconds are a coarser file system's.
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(40);
    private static readonly TimeSpan CoarseTick = TimeSpan.FromMilliseconds(2100);

    public required string Path { get; init; }

    public required bool IsDevice { get; init; }

    /// <summary>When its content changed last.</summary>
    public required DateTimeOffset Modified { get; init; }

    /// <summary>All of it that is compared.</summary>
    public required string Text { get; init; }

    private bool IsCoarse { get; init; }

    /// <exception cref="IOException">It cannot be read, or is neither a file nor a block device.</exception>
    public static FileStamp Read(string path)
    {
        // struct statx of linux/stat.h: mode @28 u16, ino @32, size @40, ctime @96 {sec i64, nsec u32}, mtime @112, rdev @128, dev @136.
        var statx = new byte[256];
        if (Statx(AtFdCwd, path, ForceSync, BasicStats, statx) != 0)
            throw new IOException($"'{path}' cannot be read: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.");
        var type = BinaryPrimitives.ReadUInt16LittleEndian(statx.AsSpan(28)) & TypeMask;
        if (type is not (RegularFile or BlockDevice))
            throw new IOException($"'{path}' is neither a file nor a block device.");
        var (mtime, ctime) = ((Seconds: Int64(112), Part: UInt32(120)), (Seconds: Int64(96), Part: UInt32(104)));
        var written = type == BlockDevice ? SectorsWritten($"{UInt32(128)}:{UInt32(132)}") : "";
        return new FileStamp
        {
            Path = path,
            IsDevice = type == BlockDevice,
            Modified = DateTimeOffset.FromUnixTimeSeconds(mtime.Seconds).AddTicks(mtime.Part / 100),
            Text = $"{UInt32(136)}:{UInt32(140)} {UInt32(128)}:{UInt32(132)} {Int64(32)} {Int64(40)} {mtime} {ctime} {written}",
            IsCoarse = mtime.Part == 0 && ctime.Part == 0,
        };

        long Int64(int at) => BinaryPrimitives.ReadInt64LittleEndian(statx.AsSpan(at));
        uint UInt32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(statx.AsSpan(at));
    }

    /// <summary>
    /// Stamps of files that nobody has written to for longer than a tick of the clock that stamps them, so that whatever is written
    /// afterwards changes the stamp. Only the order of that clock counts: a file server's may be wrong.
    /// </summary>
    /// <exception cref="IOException">One cannot be read, or is being written.</exception>
    public static async Task<IReadOnlyList<FileStamp>> SettledAsync(IReadOnlyList<string> paths, CancellationToken cancellationToken)
    {
        var before = paths.Select(Read).ToList();
        for (var left = SettleTries; ; left--)
        {
            await Task.Delay(before.Any(stamp => stamp.IsCoarse && !stamp.IsDevice) ? CoarseTick : Tick, cancellationToken);
            var now = paths.Select(Read).ToList();
            if (now.SequenceEqual(before))
                return now;
            if (left == 1)
                throw new IOException($"'{now.Except(before).First().Path}' is being written.");
            before = now;
        }
    }

    /// <summary>
    /// Some QEMU, or a tool of it, has this image open for writing. Asks for the lock without taking it: whoever wants it is not hindered.
    /// </summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static bool IsOpenForWriting(string path)
    {
        using var file = Open(path, CloseOnExec | NonBlocking, 0);
        if (file.IsInvalid)
            throw new IOException($"'{path}' cannot be opened: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.");
        var query = new FileLock { Type = WriteLock, Start = FirstWriterByte, Length = WriterBytes };
        // A file system without locks has none to tell of; what was written shows in the stamps.
        return Fcntl(file, GetOpenFileLock, ref query) == 0 && query.Type != Unlocked;
    }

    // Documentation/block/stat.rst of Linux: the 7th number is the sectors written, the 14th those discarded.
    private static string SectorsWritten(string number)
    {
        var file = $"/sys/dev/block/{number}/stat";
        if (!File.Exists(file))
            return "";
        var numbers = File.ReadAllText(file).Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return $"{numbers.ElementAtOrDefault(6)} {numbers.ElementAtOrDefault(13)}";
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte[] result);

    [LibraryImport("libc", EntryPoint = "open64", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial SafeFileHandle Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "fcntl64", SetLastError = true)]
    private static partial int Fcntl(SafeFileHandle file, int command, ref FileLock query);

    // struct flock of fcntl.h, 64 bit.
    [StructLayout(LayoutKind.Sequential)]
    private struct FileLock
    {
        public short Type;
        public short Whence;
        public long Start;
        public long Length;
        public int Process;
    }
}
