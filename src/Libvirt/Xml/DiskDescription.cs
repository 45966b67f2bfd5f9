// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Tidemark.Libvirt.Xml;

/// <summary>
/// One disk of a domain's XML (formatdomain, "Hard drives, floppy disks, CDROMs"). What is not understood becomes Unknown or null.
/// </summary>
public sealed record DiskDescription
{
    /// <summary>Name inside the machine, unique there: "vda".</summary>
    public required string Target { get; init; }

    /// <summary>"virtio", "scsi", "sata"; null when not given.</summary>
    public string? Bus { get; init; }

    public DiskDevice Device { get; init; }

    public required DiskSource Source { get; init; }

    /// <summary>Image format: "qcow2", "raw"; null when not given.</summary>
    public string? Format { get; init; }

    public bool IsReadOnly { get; init; }

    public bool IsShareable { get; init; }

    public bool IsTransient { get; init; }

    public string? Serial { get; init; }

    /// <summary>The images below that libvirt knows, the nearest first.</summary>
    public IReadOnlyList<DiskSource> Backing { get; init; } = [];

    /// <summary>
    /// Paths of the images below it as the definition itself names them, from the top; an empty text at the end says that there is no
    /// further one. Empty when it leaves all that to the images.
    /// </summary>
    public IReadOnlyList<string> DefinedBelow { get; init; } = [];

    /// <summary>Only a part of the image is the disk.</summary>
    public bool IsSlice { get; init; }

    public bool IsEncrypted { get; init; }

    /// <summary>A block copy or active commit mirrors the disk: no backup can start.</summary>
    public bool HasMirror { get; init; }

    /// <summary>"mandatory", "requisite" or "optional": whether the machine starts without its source.</summary>
    public string? StartupPolicy { get; init; }

    /// <summary>"unmap" when discards of the guest reach the image.</summary>
    public string? DiscardMode { get; init; }

    /// <summary>"virtio-disk0"; running machines only.</summary>
    public string? Alias { get; init; }

    internal static DiskDescription Read(XElement disk)
    {
        var driver = disk.Element("driver");
        var target = disk.Element("target");
        return new DiskDescription
        {
            Target = target.Text("dev") ?? "",
            Bus = target.Text("bus"),
            Device = disk.Text("device") switch
            {
                null or "disk" => DiskDevice.Disk,
                "cdrom" => DiskDevice.Cdrom,
                "floppy" => DiskDevice.Floppy,
                "lun" => DiskDevice.Lun,
                _ => DiskDevice.Unknown,
            },
            Source = DiskSource.Read(disk),
            Format = driver.Text("type"),
            IsReadOnly = disk.Element("readonly") != null,
            IsShareable = disk.Element("shareable") != null,
            IsTransient = disk.Element("transient") != null,
            Serial = disk.ChildText("serial"),
            Backing = [.. ReadBacking(disk)],
            DefinedBelow = Below(disk.Element("backingStore")),
            IsSlice = disk.Element("source")?.Element("slices") != null,
            IsEncrypted = disk.Element("encryption") != null || disk.Element("source")?.Element("encryption") != null,
            HasMirror = disk.Element("mirror") != null,
            StartupPolicy = disk.Element("source").Text("startupPolicy"),
            DiscardMode = driver.Text("discard"),
            Alias = disk.Element("alias").Text("name"),
        };
    }

    private static IEnumerable<DiskSource> ReadBacking(XElement disk)
    {
        for (var layer = disk.Element("backingStore"); layer?.Element("source") != null; layer = layer.Element("backingStore"))
            yield return DiskSource.Read(layer) with { Index = XmlText.ToInt32(layer.Text("index")) }; // not on its source, unlike a disk's
    }

    private static List<string> Below(XElement? backing)
    {
        var paths = new List<string>();
        for (; backing != null; backing = backing.Element("backingStore"))
        {
            var source = backing.Element("source");
            paths.Add(source == null ? "" : source.Text("file") ?? source.Text("dev") ?? source.Text("name") ?? "?");
        }

        return paths;
    }
}

public enum DiskDevice
{
    Unknown,
    Disk,
    Cdrom,
    Floppy,
    Lun,
}

/// <summary>Where a disk's bytes lie. <paramref name="Index"/> is QEMU's node index (<c>vda[2]</c>) on running machines.</summary>
/// <param name="Kind">None for an empty drive.</param>
/// <param name="Path">File, block device or folder; for a network disk its name there, for a volume "pool/volume"; null when there is
/// none.</param>
/// <param name="Protocol">Of a network disk: "nbd", "rbd", "iscsi".</param>
/// <param name="Index">Null on machines that do not run.</param>
public sealed record DiskSource(DiskSourceKind Kind, string? Path, string? Protocol, int? Index)
{
    /// <param name="disk">A disk, or a backingStore: both name their type and hold the source.</param>
    internal static DiskSource Read(XElement disk)
    {
        var source = disk.Element("source");
        var type = disk.Text("type");
        var (kind, path) = type switch
        {
            null or "file" => (DiskSourceKind.File, source.Text("file")),
            "block" => (DiskSourceKind.Block, source.Text("dev")),
            "network" => (DiskSourceKind.Network, source.Text("name")),
            "volume" => (DiskSourceKind.Volume, VolumePath(source)),
            "dir" => (DiskSourceKind.Folder, source.Text("dir")),
            _ => (DiskSourceKind.Unknown, null),
        };
        if (path == null && kind is not (DiskSourceKind.Unknown or DiskSourceKind.Network))
            kind = DiskSourceKind.None;
        return new DiskSource(kind, path, source.Text("protocol"), XmlText.ToInt32(source.Text("index")));
    }

    private static string? VolumePath(XElement? source) =>
        source.Text("volume") is { } volume ? $"{source.Text("pool")}/{volume}" : null;
}

public enum DiskSourceKind
{
    Unknown,
    None,
    File,
    Block,
    Network,
    Volume,
    Folder,
}
