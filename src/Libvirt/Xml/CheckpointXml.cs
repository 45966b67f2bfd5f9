// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Tidemark.Libvirt.Xml;

/// <summary>A checkpoint (formatcheckpoint).</summary>
/// <param name="Name">At most 64 characters of <c>[A-Za-z0-9_.-]</c>, not starting with a dot, never used again.</param>
/// <param name="Disks">All disks of the machine: one that is not listed is not tracked.</param>
public sealed record CheckpointDescription(string Name, IReadOnlyList<CheckpointDisk> Disks)
{
    public string? Parent { get; init; }

    public string? Description { get; init; }

    /// <summary>Whole seconds; required to redefine, chosen by libvirt otherwise.</summary>
    public DateTimeOffset? CreationTime { get; init; }
}

/// <summary>Whether a disk has a bitmap for the checkpoint.</summary>
/// <param name="Target">"vda".</param>
/// <param name="HasBitmap">False: the disk is not part of it.</param>
/// <param name="DirtyBytes">Written since, when it was asked for.</param>
public sealed record CheckpointDisk(string Target, bool HasBitmap, long? DirtyBytes = null);

public static class CheckpointXml
{
    /// <summary>The document for a new checkpoint, or for one to redefine on this or another host.</summary>
    public static string Write(CheckpointDescription checkpoint)
    {
        var root = new XElement("domaincheckpoint", new XElement("name", checkpoint.Name));
        if (checkpoint.Description != null)
            root.Add(new XElement("description", checkpoint.Description));
        if (checkpoint.Parent != null)
            root.Add(new XElement("parent", new XElement("name", checkpoint.Parent)));
        if (checkpoint.CreationTime is { } time)
            root.Add(new XElement("creationTime", time.ToUnixTimeSeconds()));
        root.Add(new XElement("disks", checkpoint.Disks.Select(disk => Write(disk, checkpoint.Name))));
        return XmlText.Write(root);
    }

    /// <exception cref="InvalidDataException">Not well-formed, or no checkpoint.</exception>
    public static CheckpointDescription Read(string xml)
    {
        var root = XmlText.Parse(xml, "domaincheckpoint").Root!;
        return new CheckpointDescription(root.ChildText("name") ?? "", [.. root.Element("disks")?.Elements("disk").Select(Read) ?? []])
        {
            Parent = root.Element("parent").ChildText("name"),
            Description = root.ChildText("description"),
            CreationTime = ReadTime(root.ChildText("creationTime")),
        };
    }

    private static DateTimeOffset? ReadTime(string? text) =>
        XmlText.ToInt64(text) is { } seconds and >= 0 and <= 253_402_300_799 ? DateTimeOffset.FromUnixTimeSeconds(seconds) : null;

    // libvirt insists on a bitmap of the checkpoint's own name.
    private static XElement Write(CheckpointDisk disk, string name) => new(
        "disk",
        new XAttribute("name", disk.Target),
        new XAttribute("checkpoint", disk.HasBitmap ? "bitmap" : "no"),
        disk.HasBitmap ? new XAttribute("bitmap", name) : null);

    private static CheckpointDisk Read(XElement disk) => new(
        disk.Text("name") ?? "",
        disk.Text("checkpoint") is null or "bitmap",
        XmlText.ToInt64(disk.Text("size")));
}
