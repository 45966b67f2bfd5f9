// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

internal static unsafe partial class ConnectNative
{
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectOpen", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial ConnectionHandle Open(string? uri);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectSetKeepAlive")]
    internal static partial int SetKeepAlive(ConnectionHandle connection, int intervalSeconds, uint count);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectIsAlive")]
    internal static partial int IsAlive(ConnectionHandle connection);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectGetURI", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? GetUri(ConnectionHandle connection);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectGetHostname", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? GetHostname(ConnectionHandle connection);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectGetCapabilities", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? GetCapabilities(ConnectionHandle connection);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectGetDomainCapabilities", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? GetDomainCapabilities(
        ConnectionHandle connection, string? emulator, string? architecture, string? machine, string? hypervisorType, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectGetLibVersion")]
    internal static partial int GetLibraryVersion(ConnectionHandle connection, out nuint version);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectGetVersion")]
    internal static partial int GetHypervisorVersion(ConnectionHandle connection, out nuint version);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainDefineXMLFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial DomainHandle DefineDomain(ConnectionHandle connection, string xml, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCreateXML", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial DomainHandle CreateDomain(ConnectionHandle connection, string xml, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectListAllDomains")]
    private static partial int ListAllDomains(ConnectionHandle connection, out nint* domains, uint flags);

    /// <summary>All domains, active and inactive; null on failure.</summary>
    internal static DomainHandle[]? ListDomains(ConnectionHandle connection)
    {
        var count = ListAllDomains(connection, out var domains, 0);
        if (count < 0)
            return null;
        var handles = new DomainHandle[count];
        for (var index = 0; index < count; index++)
            handles[index] = new DomainHandle(domains[index]);
        NativeMemory.Free(domains);
        return handles;
    }
}
