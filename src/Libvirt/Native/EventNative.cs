// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

internal static unsafe partial class EventNative
{
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromMilliseconds(100);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virEventRegisterDefaultImpl")]
    internal static partial int RegisterDefaultLoop();

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virEventRunDefaultImpl")]
    private static partial int RunLoopOnce();

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectDomainEventRegisterAny")]
    internal static partial int Register(
        ConnectionHandle connection, nint domain, int eventId, void* callback, nint opaque, delegate* unmanaged[Cdecl]<nint, void> free);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectDomainEventDeregisterAny")]
    internal static partial int Deregister(ConnectionHandle connection, int callbackId);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectRegisterCloseCallback")]
    internal static partial int RegisterClose(
        ConnectionHandle connection,
        delegate* unmanaged[Cdecl]<nint, int, nint, void> callback,
        nint opaque,
        delegate* unmanaged[Cdecl]<nint, void> free);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectUnregisterCloseCallback")]
    internal static partial int UnregisterClose(ConnectionHandle connection, delegate* unmanaged[Cdecl]<nint, int, nint, void> callback);

    // Read in callbacks, where the pointer is borrowed from libvirt and must not be freed.
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetName")]
    internal static partial byte* GetBorrowedName(nint domain);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainGetUUIDString")]
    internal static partial int GetBorrowedUuid(nint domain, byte* buffer);

    internal static void RunLoop()
    {
        while (true)
        {
            if (RunLoopOnce() < 0)
                Thread.Sleep(PauseAfterFailure);
        }
    }
}
