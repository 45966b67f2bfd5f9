// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Xml.Linq;

namespace Tidemark.Libvirt.Xml;

/// <summary>
/// What a backup needs of a domain's XML. Reading never fails on elements it does not know; <see cref="Document"/> keeps all of them.
/// </summary>
public sealed record DomainDescription
{
    /// <summary>As libvirt gave it; treat it as read-only.</summary>
    public required XDocument Document { get; init; }

    public required string Name { get; init; }

    /// <summary>Null in a definition that never met libvirt.</summary>
    public Guid? Uuid { get; init; }

    /// <summary>"kvm", "qemu".</summary>
    public string? HypervisorType { get; init; }

    public string? Emulator { get; init; }

    public required IReadOnlyList<DiskDescription> Disks { get; init; }

    public required BootDescription Boot { get; init; }

    /// <summary>Null when the machine has no TPM.</summary>
    public TpmDescription? Tpm { get; init; }

    public bool HasAgentChannel { get; init; }

    /// <summary>The guest has opened the agent channel; always false on machines that do not run.</summary>
    public bool IsAgentConnected { get; init; }

    /// <summary>Numeric user and group QEMU runs as under the dac label; null when not given or given by name.</summary>
    public (int UserId, int GroupId)? Owner { get; init; }

    /// <exception cref="InvalidDataException">Not well-formed, or no domain.</exception>
    public static DomainDescription Parse(string xml)
    {
        var document = XmlText.Parse(xml, "domain");
        var root = document.Root!;
        var devices = root.Element("devices");
        var agent = devices?.Elements("channel").Select(channel => channel.Element("target"))
            .FirstOrDefault(target => target.Text("name") == "org.qemu.guest_agent.0");
        return new DomainDescription
        {
            Document = document,
            Name = root.ChildText("name") ?? "",
            Uuid = Guid.TryParse(root.ChildText("uuid"), out var uuid) ? uuid : null,
            HypervisorType = root.Text("type"),
            Emulator = devices.ChildText("emulator"),
            Disks = [.. devices?.Elements("disk").Select(DiskDescription.Read) ?? []],
            Boot = BootDescription.Read(root.Element("os")),
            Tpm = TpmDescription.Read(devices?.Element("tpm")),
            HasAgentChannel = agent != null,
            IsAgentConnected = agent.Text("state") == "connected",
            Owner = ReadOwner(root),
        };
    }

    private static (int UserId, int GroupId)? ReadOwner(XElement root)
    {
        var label = root.Elements("seclabel").FirstOrDefault(element => element.Text("model") == "dac").ChildText("label");
        return label?.Split(':') is [var user, var group] && Identifier(user) is { } userId && Identifier(group) is { } groupId
            ? (userId, groupId)
            : null;
    }

    // A plus sign keeps libvirt from taking digits for a name.
    private static int? Identifier(string text) =>
        int.TryParse(text.TrimStart('+'), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}

/// <summary>Files a machine boots from besides its disks.</summary>
public sealed record BootDescription
{
    public string? LoaderPath { get; init; }

    /// <summary>"pflash" or "rom".</summary>
    public string? LoaderType { get; init; }

    public bool IsLoaderReadOnly { get; init; }

    public bool IsLoaderSecure { get; init; }

    /// <summary>"efi" or "bios" when libvirt chooses the firmware.</summary>
    public string? Firmware { get; init; }

    public string? NvramPath { get; init; }

    public string? NvramTemplate { get; init; }

    public string? Kernel { get; init; }

    public string? Initrd { get; init; }

    public string? CommandLine { get; init; }

    public string? DeviceTree { get; init; }

    internal static BootDescription Read(XElement? os)
    {
        var loader = os?.Element("loader");
        var nvram = os?.Element("nvram");
        return new BootDescription
        {
            LoaderPath = os.ChildText("loader"),
            LoaderType = loader.Text("type"),
            IsLoaderReadOnly = loader.IsYes("readonly"),
            IsLoaderSecure = loader.IsYes("secure"),
            Firmware = os.Text("firmware"),
            NvramPath = os.ChildText("nvram") ?? nvram?.Element("source").Text("file"),
            NvramTemplate = nvram.Text("template"),
            Kernel = os.ChildText("kernel"),
            Initrd = os.ChildText("initrd"),
            CommandLine = os.ChildText("cmdline"),
            DeviceTree = os.ChildText("dtb"),
        };
    }
}

/// <summary>A TPM; state lies with libvirt only when <paramref name="Backend"/> is "emulator".</summary>
/// <param name="Model">"tpm-crb", "tpm-tis".</param>
/// <param name="Backend">"emulator", "passthrough", "external".</param>
/// <param name="Version">"1.2" or "2.0".</param>
public sealed record TpmDescription(string? Model, string? Backend, string? Version)
{
    internal static TpmDescription? Read(XElement? tpm) => tpm == null
        ? null
        : new TpmDescription(tpm.Text("model"), tpm.Element("backend").Text("type"), tpm.Element("backend").Text("version"));
}
