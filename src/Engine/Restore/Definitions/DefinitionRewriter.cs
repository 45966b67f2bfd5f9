// SPDX-License-Identifier: Apache-2.0
using System.Xml;
using System.Xml.Linq;

namespace Tidemark.Engine.Restore.Definitions;

/// <summary>Where a restored disk lies and how a definition points to it.</summary>
/// <param name="Path">Absolute path of the image or block device.</param>
/// <param name="IsBlock">A block device, not a file.</param>
/// <param name="Format"><c>qcow2</c> or <c>raw</c>.</param>
public sealed record RestoredDisk(string Path, bool IsBlock, string Format);

/// <summary>How a stored definition becomes that of a restored machine.</summary>
public sealed record DefinitionChanges
{
    public required string Name { get; init; }

    /// <summary>The machine's UUID from now on.</summary>
    public required Guid Uuid { get; init; }

    /// <summary>It lives beside the machine it came from: new MAC addresses, no fixed ports.</summary>
    public required bool NewIdentity { get; init; }

    /// <summary>Disks by target name; disks not here are taken out, removable drives stay, empty.</summary>
    public required IReadOnlyDictionary<string, RestoredDisk> Disks { get; init; }

    /// <summary>Restored NVRAM, kernel, initrd and device tree, by role.</summary>
    public required IReadOnlyDictionary<string, string> Files { get; init; }
}

/// <summary>
/// Rewrites a libvirt definition for a restored machine. Everything that named a thing of the old host and has an
/// equivalent here is repointed or taken out; what remains is for <see cref="DefinitionAllowList"/> to judge.
/// </summary>
public static class DefinitionRewriter
{
    /// <summary>Reads a definition without resolving anything outside of it.</summary>
    /// <exception cref="EngineException">It is not a libvirt domain document.</exception>
    public static XDocument Parse(string xml)
    {
        try
        {
            using var reader = XmlReader.Create(new StringReader(xml), new XmlReaderSettings
            {
                DtdProcessing = DtdProcessing.Prohibit,
                XmlResolver = null,
            });
            var document = XDocument.Load(reader);
            return document.Root?.Name == "domain"
                ? document
                : throw EngineException.Failed(
                    $"The stored definition is not a libvirt domain; its root element is '{document.Root?.Name}'.");
        }
        catch (XmlException e)
        {
            throw EngineException.Failed($"The stored definition is not well-formed XML: {e.Message}", inner: e);
        }
    }

    /// <summary>Changes the document in place; returns what was taken out, one sentence each.</summary>
    public static IReadOnlyList<string> Rewrite(XDocument document, DefinitionChanges changes)
    {
        var notes = new List<string>();
        var domain = document.Root!;
        var devices = domain.Element("devices");
        domain.Attribute("id")?.Remove();
        domain.Elements("seclabel").Remove();
        SetIdentity(domain, changes);
        SetFiles(domain, changes, notes);
        foreach (var disk in devices?.Elements("disk").ToList() ?? [])
            RewriteDisk(disk, changes, notes);
        foreach (var device in devices?.Elements().ToList() ?? [])
            DetachFromHost(device, changes);
        return notes;
    }

    private static void SetIdentity(XElement domain, DefinitionChanges changes)
    {
        domain.SetElementValue("name", changes.Name);
        domain.SetElementValue("uuid", changes.Uuid.ToString("d"));
        foreach (var entry in domain.Elements("sysinfo").Elements("system").Elements("entry"))
        {
            if (entry.Attribute("name")?.Value == "uuid")
                entry.Value = changes.Uuid.ToString("d");
        }

        // A guest must learn that its time line forked (databases, Active Directory).
        if (domain.Element("genid") is { } generation)
            generation.Value = Guid.NewGuid().ToString("d");
    }

    private static void SetFiles(XElement domain, DefinitionChanges changes, List<string> notes)
    {
        if (domain.Element("os") is not { } os)
            return;
        foreach (var role in (string[])["nvram", "kernel", "initrd", "dtb"])
        {
            if (os.Element(role) is not { } element)
                continue;
            if (changes.Files.TryGetValue(role, out var path))
            {
                element.RemoveAttributes();
                element.RemoveNodes();
                element.Value = path;
                continue;
            }

            element.Remove();
            notes.Add($"The {role} file is not part of the restore point, so the definition does without it.");
        }
    }

    private static void RewriteDisk(XElement disk, DefinitionChanges changes, List<string> notes)
    {
        var name = disk.Element("target")?.Attribute("dev")?.Value ?? "";
        foreach (var part in (string[])["backingStore", "mirror", "auth", "encryption", "iotune-group"])
            disk.Elements(part).Remove();
        if (changes.Disks.TryGetValue(name, out var restored))
        {
            disk.Elements("source").Remove();
            disk.SetAttributeValue("type", restored.IsBlock ? "block" : "file");
            disk.AddFirst(new XElement("source", new XAttribute(restored.IsBlock ? "dev" : "file", restored.Path)));
            var driver = disk.Element("driver");
            if (driver is null)
                disk.AddFirst(driver = new XElement("driver", new XAttribute("name", "qemu")));
            driver.SetAttributeValue("type", restored.Format);
            return;
        }

        if (disk.Attribute("device")?.Value is "cdrom" or "floppy")
        {
            if (disk.Elements("source").Any())
                notes.Add($"Drive '{name}' comes back empty.");
            disk.Elements("source").Remove();
            disk.SetAttributeValue("type", "file");
            return;
        }

        notes.Add($"Disk '{name}' is not part of the restore; the definition does without it.");
        disk.Remove();
    }

    private static void DetachFromHost(XElement device, DefinitionChanges changes)
    {
        switch (device.Name.LocalName)
        {
            case "interface":
                device.Elements("target").Remove();
                device.Elements("actual").Remove();
                if (changes.NewIdentity)
                    device.Elements("mac").Remove();
                break;
            case "channel" or "console" or "serial":
                device.Attribute("tty")?.Remove();
                // libvirt chooses the paths of pseudo terminals and agent sockets anew for each machine.
                if (device.Attribute("type")?.Value is "pty" or "unix")
                    device.Elements("source").Remove();
                break;
            case "graphics":
                device.Attribute("socket")?.Remove();
                device.Elements("listen").Where(listen => listen.Attribute("type")?.Value == "socket").Remove();
                if (changes.NewIdentity && device.Attribute("port") is not null)
                {
                    device.SetAttributeValue("port", "-1");
                    device.SetAttributeValue("autoport", "yes");
                }

                device.Attribute("tlsPort")?.Remove();
                break;
            case "vsock" when changes.NewIdentity:
                device.Elements("cid").Remove();
                device.Add(new XElement("cid", new XAttribute("auto", "yes")));
                break;
            case "tpm":
                device.Elements("backend").Elements("source").Remove();
                break;
        }
    }
}
