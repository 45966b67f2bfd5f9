// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

internal static unsafe partial class JobNative
{
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetJobStats")]
    private static partial int GetJobStats(DomainHandle domain, out int type, ref TypedParameter* parameters, ref int count, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virTypedParamsFree")]
    private static partial void FreeParameters(TypedParameter* parameters, int count);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainAbortJob")]
    internal static partial int Abort(DomainHandle domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainBackupBegin", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int BackupBegin(DomainHandle domain, string backupXml, string? checkpointXml, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainBackupGetXMLDesc", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? BackupGetXml(DomainHandle domain, uint flags);

    /// <summary>Type and values of the current or last job; null when the call failed.</summary>
    internal static (int Type, Dictionary<string, object> Values)? GetJobStats(DomainHandle domain, uint flags)
    {
        // Both must be zero on entry: libvirt takes a leftover count for the capacity of a caller's array.
        TypedParameter* parameters = null;
        var count = 0;
        if (GetJobStats(domain, out var type, ref parameters, ref count, flags) < 0)
            return null;
        var values = TypedParameter.Read(parameters, count);
        FreeParameters(parameters, count);
        return (type, values);
    }
}
