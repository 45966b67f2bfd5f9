// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>Layout of virDomainBlockInfo, in bytes each.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeBlockInfo
{
    public ulong Capacity;
    public ulong Allocation;
    public ulong Physical;
}

internal static unsafe partial class BlockNative
{
    [StructLayout(LayoutKind.Sequential)]
    private struct NativeDiskError
    {
        public byte* Disk;
        public int Error;
    }

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetBlockInfo", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int GetBlockInfo(DomainHandle domain, string disk, out NativeBlockInfo info, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainSetBlockThreshold", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int SetBlockThreshold(DomainHandle domain, string device, ulong threshold, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainBlockResize", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int BlockResize(DomainHandle domain, string disk, ulong size, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetDiskErrors")]
    private static partial int GetDiskErrors(DomainHandle domain, NativeDiskError* errors, uint maxErrors, uint flags);

    /// <summary>Disks whose I/O failed and the kind of failure; null when the call failed.</summary>
    internal static (string Disk, int Error)[]? GetDiskErrors(DomainHandle domain)
    {
        var count = GetDiskErrors(domain, null, 0, 0);
        if (count <= 0)
            return count < 0 ? null : [];
        var errors = stackalloc NativeDiskError[count];
        count = GetDiskErrors(domain, errors, (uint)count, 0);
        if (count < 0)
            return null;
        var found = new (string, int)[count];
        for (var index = 0; index < count; index++)
        {
            found[index] = (Marshal.PtrToStringUTF8((nint)errors[index].Disk) ?? "", errors[index].Error);
            NativeMemory.Free(errors[index].Disk);
        }
        return found;
    }
}
