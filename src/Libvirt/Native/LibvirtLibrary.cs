// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>
/// Loads the C library once per process: silences its error printer, registers the event loop (which must precede the first connection)
/// and runs it on one background thread for the life of the process.
/// </summary>
internal static class LibvirtLibrary
{
    internal const string Main = "libvirt.so.0";
    internal const string Qemu = "libvirt-qemu.so.0";

    private static readonly Lazy<bool> Started = new(() =>
    {
        RequireInstalled(Main);
        Start();
        return true;
    });

    internal static void EnsureStarted() => _ = Started.Value;

    internal static void RequireInstalled(string library)
    {
        if (!NativeLibrary.TryLoad(library, out _))
            throw new LibvirtMissingException(library);
    }

    private static unsafe void Start()
    {
        ErrorNative.SetErrorFunction(null, &ErrorNative.Silent);
        if (LibraryNative.Initialize() < 0 || EventNative.RegisterDefaultLoop() < 0)
            throw LibvirtErrors.Create("initialize libvirt");
        new Thread(EventNative.RunLoop) { IsBackground = true, Name = "libvirt events" }.Start();
    }
}

internal static partial class LibraryNative
{
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virInitialize")]
    internal static partial int Initialize();

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virGetVersion")]
    internal static partial int GetVersion(out nuint version, nint type, nint typeVersion);
}
