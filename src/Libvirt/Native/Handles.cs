// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>A reference to a virConnect. Domains hold one of their own, so a connection closes when the last of them is freed.</summary>
internal sealed partial class ConnectionHandle() : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => Close(handle) >= 0;

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virConnectClose")]
    private static partial int Close(nint connection);
}

internal sealed partial class DomainHandle() : SafeHandle(0, ownsHandle: true)
{
    internal DomainHandle(nint domain) : this() => SetHandle(domain);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => Free(handle) >= 0;

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainFree")]
    private static partial int Free(nint domain);
}

internal sealed partial class CheckpointHandle() : SafeHandle(0, ownsHandle: true)
{
    internal CheckpointHandle(nint checkpoint) : this() => SetHandle(checkpoint);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => Free(handle) >= 0;

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointFree")]
    private static partial int Free(nint checkpoint);
}
