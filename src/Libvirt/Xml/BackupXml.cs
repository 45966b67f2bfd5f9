// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Tidemark.Libvirt.Xml;

/// <summary>A pull backup (formatbackup): the NBD socket and every disk of the machine, taken or not.</summary>
/// <param name="SocketPath">Absolute, at most 107 bytes, in a folder QEMU may write; an existing file there is replaced.</param>
/// <param name="Disks">All disks of the machine: libvirt leaves out those that are not listed.</param>
public sealed record BackupDescription(string? SocketPath, IReadOnlyList<BackupDisk> Disks);

/// <summary>One disk of a pull backup.</summary>
/// <param name="Target">"vda".</param>
/// <param name="Scratch">Where overwritten blocks are put aside; null leaves the disk out.</param>
public sealed record BackupDisk(string Target, BackupScratch? Scratch)
{
    /// <summary>Checkpoint whose changes are exported; null for a full backup.</summary>
    public string? Incremental { get; init; }

    /// <summary>NBD export name; the target when null. libvirt forgets it when its daemon restarts.</summary>
    public string? ExportName { get; init; }

    /// <summary>Name behind <c>qemu:dirty-bitmap:</c>; <c>backup-&lt;target&gt;</c> when null.</summary>
    public string? ExportBitmap { get; init; }

    /// <summary>QEMU's node index of the scratch, for a threshold on <c>vda[5]</c>; only in what libvirt gives back.</summary>
    public int? ScratchIndex { get; init; }
}

/// <summary>A scratch file that must not exist yet (unless reused), or a block device that is overwritten.</summary>
public sealed record BackupScratch(string Path, bool IsBlockDevice = false);

/// <summary>Writes the document for virDomainBackupBegin and reads what virDomainBackupGetXMLDesc returns.</summary>
public static class BackupXml
{
    public static string Write(BackupDescription backup) => XmlText.Write(
        new XElement(
            "domainbackup",
            new XAttribute("mode", "pull"),
            new XElement("server", new XAttribute("transport", "unix"), new XAttribute("socket", backup.SocketPath ?? "")),
            new XElement("disks", backup.Disks.Select(Write))));

    /// <exception cref="InvalidDataException">Not well-formed, or no backup.</exception>
    public static BackupDescription Read(string xml)
    {
        var root = XmlText.Parse(xml, "domainbackup").Root!;
        return new BackupDescription(
            root.Element("server").Text("socket"),
            [.. root.Element("disks")?.Elements("disk").Select(Read) ?? []]);
    }

    private static XElement Write(BackupDisk disk)
    {
        var element = new XElement("disk", new XAttribute("name", disk.Target));
        if (disk.Scratch == null)
        {
            element.SetAttributeValue("backup", "no");
            return element;
        }
        element.SetAttributeValue("backup", "yes");
        element.SetAttributeValue("type", disk.Scratch.IsBlockDevice ? "block" : "file");
        element.SetAttributeValue("backupmode", disk.Incremental == null ? "full" : "incremental");
        element.SetAttributeValue("incremental", disk.Incremental);
        element.SetAttributeValue("exportname", disk.ExportName);
        element.SetAttributeValue("exportbitmap", disk.ExportBitmap);
        element.Add(new XElement("scratch", new XAttribute(disk.Scratch.IsBlockDevice ? "dev" : "file", disk.Scratch.Path)));
        return element;
    }

    private static BackupDisk Read(XElement disk)
    {
        var scratch = disk.Element("scratch");
        var file = scratch.Text("file");
        var device = scratch.Text("dev");
        var path = file ?? device;
        return new BackupDisk(disk.Text("name") ?? "", path == null ? null : new BackupScratch(path, file == null))
        {
            Incremental = disk.Text("incremental"),
            ExportName = disk.Text("exportname"),
            ExportBitmap = disk.Text("exportbitmap"),
            ScratchIndex = XmlText.ToInt32(disk.Text("index")),
        };
    }
}
