// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Tidemark.Libvirt.Native;

internal static unsafe partial class CheckpointNative
{
    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointCreateXML", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial CheckpointHandle Create(DomainHandle domain, string xml, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointLookupByName", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial CheckpointHandle LookupByName(DomainHandle domain, string name, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointGetName")]
    [return: MarshalUsing(typeof(BorrowedString))]
    internal static partial string? GetName(CheckpointHandle checkpoint);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointGetParent")]
    internal static partial CheckpointHandle GetParent(CheckpointHandle checkpoint, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointGetXMLDesc", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial string? GetXml(CheckpointHandle checkpoint, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainCheckpointDelete")]
    internal static partial int Delete(CheckpointHandle checkpoint, uint flags);

    [LibraryImport(LibvirtLibrary.Main, EntryPoint = "virDomainListAllCheckpoints")]
    private static partial int ListAll(DomainHandle domain, out nint* checkpoints, uint flags);

    /// <summary>Names of the checkpoints in the order asked for; null on failure.</summary>
    internal static string[]? List(DomainHandle domain, uint flags) => Map(domain, flags, checkpoint => GetName(checkpoint) ?? "");

    /// <summary>Documents of the checkpoints in the order asked for; null on failure.</summary>
    internal static string[]? ListXml(DomainHandle domain, uint flags, uint xmlFlags) =>
        Map(domain, flags, checkpoint => GetXml(checkpoint, xmlFlags));

    // What a checkpoint gives nothing for is left out.
    private static string[]? Map(DomainHandle domain, uint flags, Func<CheckpointHandle, string?> read)
    {
        var count = ListAll(domain, out var checkpoints, flags);
        if (count < 0)
            return null;
        var found = new List<string>(count);
        for (var index = 0; index < count; index++)
        {
            using var checkpoint = new CheckpointHandle(checkpoints[index]);
            if (read(checkpoint) is { } text)
                found.Add(text);
        }
        NativeMemory.Free(checkpoints);
        return [.. found];
    }
}
