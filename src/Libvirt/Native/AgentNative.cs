// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

internal static partial class AgentNative
{
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainAgentSetResponseTimeout")]
    internal static partial int SetResponseTimeout(DomainHandle domain, int seconds, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainFSFreeze", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Freeze(DomainHandle domain, string[]? mountPoints, uint count, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainFSThaw", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Thaw(DomainHandle domain, string[]? mountPoints, uint count, uint flags);

    [LibraryImport(LibvirtLibrary.Qemu, EntryPoint = "virDomainQemuAgentCommand", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? Command(DomainHandle domain, string command, int timeoutSeconds, uint flags);
}
