// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>The head of libvirt's virError; what follows it is not needed.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeError
{
    public int Code;
    public int Domain;
    public byte* Message;
}

/// <summary>
/// The last error is kept per operating system thread and reset by the next call: read it directly after the call that failed.
/// </summary>
internal static unsafe partial class ErrorNative
{
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virGetLastError")]
    private static partial NativeError* GetLastError();

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virSetErrorFunc")]
    internal static partial void SetErrorFunction(void* userData, delegate* unmanaged[Cdecl]<void*, NativeError*, void> handler);

    // A null handler would mean "print to stderr".
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    internal static void Silent(void* userData, NativeError* error)
    {
    }

    internal static (int Code, int Domain, string Message) Last()
    {
        var error = GetLastError();
        return error == null
            ? (0, 0, "libvirt gave no reason")
            : (error->Code, error->Domain, Marshal.PtrToStringUTF8((nint)error->Message) ?? "libvirt gave no reason");
    }
}
