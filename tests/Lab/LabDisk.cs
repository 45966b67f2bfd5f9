// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Tidemark.Lab;

/// <summary>A disk to give a lab machine.</summary>
/// <param name="Target">"vda"; also the name of its image.</param>
/// <param name="Size">Bytes; null for an image that exists, or an empty drive.</param>
public sealed record LabDisk(string Target, long? Size)
{
    /// <summary>"qcow2" or "raw".</summary>
    public string Format { get; init; } = "qcow2";

    public string Bus { get; init; } = "virtio";

    /// <summary>"disk", "cdrom", "floppy".</summary>
    public string Device { get; init; } = "disk";

    /// <summary>Image to use or create; null for one of the machine's own in the host's folder.</summary>
    public string? Path { get; init; }

    /// <summary>An empty cdrom or floppy drive.</summary>
    public bool IsEmpty { get; init; }

    public bool IsReadOnly { get; init; }

    public bool IsShareable { get; init; }

    public bool IsTransient { get; init; }

    /// <summary>The image lies on this block device; its format still counts.</summary>
    public bool IsBlockDevice { get; init; }

    /// <summary>The disk is the export of this name of an NBD server at a Unix socket that QEMU may connect to.</summary>
    public (string Socket, string Export)? Nbd { get; init; }

    public string? Serial { get; init; }

    /// <summary>For qemu-img create -o: "cluster_size=4096,compat=1.1".</summary>
    public string? CreateOptions { get; init; }

    /// <summary>How qemu-img names it; null for a path.</summary>
    internal string? Uri => Nbd is { } nbd ? $"nbd+unix:///{nbd.Export}?socket={nbd.Socket}" : null;

    internal XElement ToXml(string imagePath)
    {
        var disk = new XElement(
            "disk",
            new XAttribute("type", Nbd != null ? "network" : IsBlockDevice ? "block" : "file"),
            new XAttribute("device", Device),
            new XElement("driver", new XAttribute("name", "qemu"), new XAttribute("type", Format), new XAttribute("discard", "unmap")),
            new XElement("target", new XAttribute("dev", Target), new XAttribute("bus", Bus)));
        if (Nbd is { } nbd)
        {
            disk.Add(new XElement(
                "source",
                new XAttribute("protocol", "nbd"),
                new XAttribute("name", nbd.Export),
                new XElement("host", new XAttribute("transport", "unix"), new XAttribute("socket", nbd.Socket))));
        }
        else if (!IsEmpty)
            disk.Add(new XElement("source", new XAttribute(IsBlockDevice ? "dev" : "file", imagePath)));
        if (IsReadOnly)
            disk.Add(new XElement("readonly"));
        if (IsShareable)
            disk.Add(new XElement("shareable"));
        if (IsTransient)
            disk.Add(new XElement("transient"));
        if (Serial != null)
            disk.Add(new XElement("serial", Serial));
        return disk;
    }
}
