// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Tidemark.Libvirt.Native;

internal static unsafe partial class DomainNative
{
    private const int UuidTextLength = 37; // VIR_UUID_STRING_BUFLEN

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainLookupByName", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial DomainHandle LookupByName(ConnectionHandle connection, string name);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainLookupByUUIDString", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial DomainHandle LookupByUuid(ConnectionHandle connection, string uuid);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetName")]
    [return: MarshalUsing(typeof(BorrowedString))]
    internal static partial string? GetName(DomainHandle domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetUUIDString")]
    private static partial int GetUuidText(DomainHandle domain, byte* buffer);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetXMLDesc", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? GetXml(DomainHandle domain, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetState")]
    internal static partial int GetState(DomainHandle domain, out int state, out int reason, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainIsPersistent")]
    internal static partial int IsPersistent(DomainHandle domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainHasManagedSaveImage")]
    internal static partial int HasManagedSave(DomainHandle domain, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCreateWithFlags")]
    internal static partial int Create(DomainHandle domain, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainSuspend")]
    internal static partial int Suspend(DomainHandle domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainResume")]
    internal static partial int Resume(DomainHandle domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainShutdown")]
    internal static partial int Shutdown(DomainHandle domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainDestroyFlags")]
    internal static partial int Destroy(DomainHandle domain, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainUndefineFlags")]
    internal static partial int Undefine(DomainHandle domain, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainAttachDeviceFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int AttachDevice(DomainHandle domain, string xml, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainDetachDeviceFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int DetachDevice(DomainHandle domain, string xml, uint flags);

    [LibraryImport(LibvirtLibrary.Qemu, EntryPoint = "virDomainQemuMonitorCommand", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int QemuMonitorCommand(DomainHandle domain, string command, out string? reply, uint flags);

    internal static Guid GetUuid(DomainHandle domain)
    {
        var text = stackalloc byte[UuidTextLength];
        return GetUuidText(domain, text) < 0 ? Guid.Empty : Guid.Parse(Marshal.PtrToStringUTF8((nint)text)!);
    }
}
