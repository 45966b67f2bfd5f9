// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Tidemark.Engine.Restore.Definitions;

/// <summary>
/// What a restored definition may ask of this host without anyone looking. A stored definition may come from a host that was
/// taken over, and libvirt would start it with root's help: whatever is not known to be harmless is refused.
/// </summary>
public static class DefinitionAllowList
{
    private static readonly HashSet<string> TopLevel = new(StringComparer.Ordinal)
    {
        "name", "uuid", "genid", "title", "description", "metadata", "memory", "maxMemory", "currentMemory", "memoryBacking",
        "vcpu", "vcpus", "iothreads", "iothreadids", "cputune", "numatune", "memtune", "blkiotune", "resource", "sysinfo", "os",
        "features", "cpu", "clock", "on_poweroff", "on_reboot", "on_crash", "on_lockfailure", "pm", "perf", "devices", "keywrap",
    };

    private static readonly HashSet<string> Devices = new(StringComparer.Ordinal)
    {
        "emulator", "disk", "controller", "interface", "serial", "parallel", "console", "channel", "input", "graphics", "video",
        "sound", "audio", "memballoon", "rng", "tpm", "watchdog", "panic", "vsock", "iommu", "hub", "redirdev", "redirfilter",
        "memory",
    };

    // Kinds of a device that stay within the guest or on what libvirt itself manages.
    private static readonly Dictionary<string, string[]> Kinds = new(StringComparer.Ordinal)
    {
        ["interface"] = ["network", "bridge", "user", "internal"],
        ["serial"] = ["pty", "null", "vc", "spicevmc", "spiceport"],
        ["parallel"] = ["pty", "null", "vc"],
        ["console"] = ["pty", "null", "vc", "spicevmc", "spiceport"],
        ["channel"] = ["pty", "unix", "null", "spicevmc", "spiceport", "qemu-vdagent"],
        ["redirdev"] = ["spicevmc"],
        ["input"] = ["mouse", "tablet", "keyboard"],
        ["audio"] = ["none", "spice"],
    };

    // Elements and attributes that hold a path and nothing else: there a relative one counts too, and so does one with no slash at all.
    private static readonly HashSet<string> PathElements = new(StringComparer.Ordinal)
    {
        "emulator", "loader", "nvram", "kernel", "initrd", "dtb", "table", "path", "partition",
    };

    private static readonly HashSet<string> PathAttributes = new(StringComparer.Ordinal)
    {
        "file", "path", "dir", "socket", "template", "rendernode", "xauth", "logFile", "startupScript",
    };

    private static readonly string[] FirmwareFolders =
        ["/usr/share/OVMF/", "/usr/share/ovmf/", "/usr/share/qemu/", "/usr/share/edk2/", "/usr/share/AAVMF/", "/usr/share/seabios/"];

    private static readonly string[] RandomDevices = ["/dev/urandom", "/dev/random", "/dev/hwrng"];

    /// <summary>Everything in the definition that is not allowed, in plain words; empty when it may be defined.</summary>
    /// <param name="document">A definition after <see cref="DefinitionRewriter.Rewrite"/>.</param>
    /// <param name="ownPaths">Paths that this restore wrote.</param>
    public static IReadOnlyList<string> Refused(XDocument document, IReadOnlySet<string> ownPaths)
    {
        var refused = new List<string>();
        foreach (var element in document.Root!.Elements())
        {
            if (element.Name.Namespace != XNamespace.None)
                refused.Add($"<{element.Name.LocalName}> passes settings to QEMU behind libvirt's back");
            else if (!TopLevel.Contains(element.Name.LocalName))
                refused.Add($"<{element.Name.LocalName}> is not known to be harmless");
            else if (element.Name == "devices")
                refused.AddRange(element.Elements().SelectMany(RefusedDevice));
        }

        refused.AddRange(document.Root.Elements("sysinfo")
            .Where(info => info.Attribute("type")?.Value != "smbios")
            .Select(_ => "<sysinfo> hands host files to the guest"));
        foreach (var element in document.Root.Elements().Where(element => element.Name != "metadata").SelectMany(Everything))
            refused.AddRange(Values(element).Where(value => !PathAllowed(element, value, ownPaths))
                .Select(value => $"<{element.Name.LocalName}> names the host path '{value}'"));
        return refused.Distinct(StringComparer.Ordinal).ToList();
    }

    private static IEnumerable<string> RefusedDevice(XElement device)
    {
        var name = device.Name.LocalName;
        if (device.Name.Namespace != XNamespace.None || !Devices.Contains(name))
        {
            yield return $"device <{name}> is not known to be harmless";
            yield break;
        }

        var kind = device.Attribute("type")?.Value;
        if (Kinds.TryGetValue(name, out var kinds) && kind is not null && !kinds.Contains(kind))
            yield return $"<{name} type='{kind}'> reaches outside the guest";
        if (name == "interface" && (device.Element("script") is not null || device.Element("downscript") is not null))
            yield return "<interface> runs a script on the host";
        if (name == "tpm" && device.Element("backend")?.Attribute("type")?.Value != "emulator")
            yield return "<tpm> is not an emulated one";
        if (name == "rng" && device.Element("backend")?.Attribute("model")?.Value is not ("random" or "builtin"))
            yield return "<rng> reads from outside the host's random device";
        if (name == "emulator" && !IsEmulator(device.Value))
            yield return $"emulator '{device.Value}' is not QEMU's usual program";
        if (name is "disk" && device.Attribute("device")?.Value == "lun")
            yield return "<disk device='lun'> passes host commands through";
        if (name is "disk" && (device.Attribute("rawio")?.Value == "yes" || device.Attribute("sgio")?.Value == "unfiltered"))
            yield return "<disk> asks for raw access to the host's devices";
    }

    private static IEnumerable<XElement> Everything(XElement element) => element.DescendantsAndSelf();

    private static IEnumerable<string> Values(XElement element)
    {
        var name = element.Name.LocalName;
        foreach (var attribute in element.Attributes().Where(attribute => !attribute.IsNamespaceDeclaration && attribute.Value.Length > 0))
        {
            var isPath = PathAttributes.Contains(attribute.Name.LocalName) || (name == "source" && attribute.Name == "dev");
            if (isPath || attribute.Value.Contains('/', StringComparison.Ordinal))
                yield return attribute.Value;
        }

        // Text beside child elements counts: who reads the content of an element as a string sees it as well.
        var text = string.Concat(element.Nodes().OfType<XText>().Select(part => part.Value)).Trim();
        var isRandomDevice = name == "backend" && element.Parent?.Name == "rng";
        if (text.Length > 0 && (text[0] == '/' || PathElements.Contains(name) || isRandomDevice))
            yield return text;
    }

    private static bool PathAllowed(XElement element, string value, IReadOnlySet<string> ownPaths)
    {
        if (ownPaths.Contains(value))
            return true;
        var plain = !value.Split('/').Contains("..");
        return element.Name.LocalName switch
        {
            "emulator" => IsEmulator(value),
            "loader" or "nvram" => plain && FirmwareFolders.Any(folder => value.StartsWith(folder, StringComparison.Ordinal)),
            "backend" => element.Parent?.Name == "rng" && RandomDevices.Contains(value),
            "partition" => plain,
            // Text of the firmware tables, not paths.
            "entry" => element.Parent?.Parent?.Name == "sysinfo",
            _ => false,
        };
    }

    private static bool IsEmulator(string path)
    {
        var folder = Path.GetDirectoryName(path);
        var file = Path.GetFileName(path);
        return folder is "/usr/bin" or "/usr/libexec" or "/usr/sbin" or "/bin"
            && (file.StartsWith("qemu-system-", StringComparison.Ordinal) || file is "qemu-kvm" or "kvm");
    }
}
