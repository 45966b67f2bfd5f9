// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Blocks;

/// <summary>
/// Files past the page cache (O_DIRECT): what is written once and not read again soon costs neither memory, nor the copy into it, nor
/// what the host's machines have cached. Offset, length and address must be aligned: see <see cref="Fits"/> and
/// <see cref="AlignedPool"/>. Not every file system has it.
/// </summary>
public static partial class DirectIo
{
    /// <summary>Bytes that every device and file system is content with.</summary>
    public const int Alignment = 4096;

    private const int InvalidArgument = 22; // EINVAL
    private const int GetFlags = 3; // F_GETFL
    private const int SetFlags = 4; // F_SETFL

    private static int Direct => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x10000 : 0x4000;

    /// <summary>Whether a transfer may go past the page cache.</summary>
    public static unsafe bool Fits(long offset, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* start = buffer)
            return buffer.Length > 0 && ((offset | (uint)buffer.Length) & (Alignment - 1)) == 0 && ((nint)start & (Alignment - 1)) == 0;
    }

    /// <summary>Turns it on or off for a handle; false when the file system does not have it.</summary>
    public static bool TrySet(SafeFileHandle file, bool isDirect)
    {
        var flags = Control(file, GetFlags, 0);
        return flags >= 0 && Control(file, SetFlags, isDirect ? flags | Direct : flags & ~Direct) == 0;
    }

    /// <summary>Whether a transfer failed because this file wants another alignment, or none of it.</summary>
    public static bool IsRefusal(IOException failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        return failure.HResult == InvalidArgument;
    }

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(SafeFileHandle file, int command, int argument);
}
