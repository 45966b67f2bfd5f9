// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Qemu;

/// <summary>
/// An image as QEMU's tools are told about it. A path is made absolute, so that a name such as <c>json:x</c> or <c>nbd:x</c> stays a file;
/// the format is always named, because probing would let a guest that writes a qcow2 header into a raw disk read any file of the host.
/// </summary>
public readonly record struct ImageRef
{
    private ImageRef(string location, string format) => (Location, Format) = (location, format);

    /// <summary>Absolute path, or URI.</summary>
    public string Location { get; }

    /// <summary>QEMU's name of the format: <c>raw</c>, <c>qcow2</c>, ….</summary>
    public string Format { get; }

    /// <summary>A file or block device.</summary>
    public static ImageRef File(string path, string format) => new(Path.GetFullPath(path), format);

    /// <summary>An NBD export by its URI (<c>nbd+unix:///name?socket=…</c>); what it shows is raw.</summary>
    public static ImageRef Nbd(string uri) => new(uri, "raw");
}
