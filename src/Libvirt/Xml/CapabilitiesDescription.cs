// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Libvirt.Xml;

/// <summary>What a backup needs of the host's capabilities.</summary>
/// <param name="SecurityModels">Security drivers in use: <c>dac</c>, <c>apparmor</c>, <c>selinux</c>.</param>
/// <param name="QemuOwner">User and group that QEMU runs as, by the label of the dac driver; null when there is none.</param>
public sealed record CapabilitiesDescription(IReadOnlyList<string> SecurityModels, (uint User, uint Group)? QemuOwner)
{
    /// <exception cref="InvalidDataException">Not well-formed, or not capabilities.</exception>
    public static CapabilitiesDescription Parse(string xml)
    {
        var models = XmlText.Parse(xml, "capabilities").Root!.Element("host")?.Elements("secmodel").ToList() ?? [];
        return new CapabilitiesDescription(
            models.Select(model => model.ChildText("model")).OfType<string>().ToList(),
            ReadOwner(models.Find(model => model.ChildText("model") == "dac")?.Element("baselabel")?.Value));
    }

    /// <summary>Whether backups are supported, by the host's domain capabilities; null when they say nothing of it.</summary>
    /// <exception cref="InvalidDataException">Not well-formed, or not domain capabilities.</exception>
    public static bool? ReadBackupSupport(string xml) =>
        XmlText.Parse(xml, "domainCapabilities").Root!.Element("features")?.Element("backup") is { } backup ? backup.IsYes("supported")
            : null;

    private static (uint User, uint Group)? ReadOwner(string? label) =>
        label?.Trim().Split(':') is [var user, var group] && Read(user) is { } userId && Read(group) is { } groupId ? (userId, groupId)
            : null;

    private static uint? Read(string text) =>
        uint.TryParse(text.TrimStart('+'), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}
