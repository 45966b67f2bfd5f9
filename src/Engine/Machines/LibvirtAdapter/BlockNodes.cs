// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>An image as the running QEMU sees it.</summary>
/// <param name="Node">QEMU's name of the node.</param>
/// <param name="File">Path of the image; null for network images.</param>
/// <param name="Compat">qcow2 version, <c>0.10</c> or <c>1.1</c>; null for other formats.</param>
/// <param name="Size">Virtual size in bytes; null where QEMU does not tell it.</param>
/// <param name="DataFile">The external file with its data, as the image names it; null for data in the image itself.</param>
/// <param name="Bitmaps">Its bitmaps.</param>
internal sealed record BlockNode(
    string Node, string? File, string? Compat, long? Size, string? DataFile, IReadOnlyDictionary<string, BitmapHealth> Bitmaps);

/// <summary>
/// Reads QEMU's answer to <c>query-block</c>. Only the running QEMU knows its bitmaps: the image file shows old ones as in use
/// and new ones not at all. libvirt marks the domain as tainted by the question, which changes nothing about it.
/// </summary>
internal static class BlockNodes
{
    public const string Query = """{"execute":"query-block"}""";

    /// <summary>Asks for every node, also those below the topmost ones.</summary>
    public const string QueryAll = """{"execute":"query-named-block-nodes","arguments":{"flat":true}}""";

    /// <summary>The nodes by the alias of their device, such as <c>virtio-disk0</c>.</summary>
    public static IReadOnlyDictionary<string, BlockNode> Parse(string answer)
    {
        var nodes = new Dictionary<string, BlockNode>(StringComparer.Ordinal);
        using var document = JsonDocument.Parse(answer);
        if (!document.RootElement.TryGetProperty("return", out var devices))
            return nodes;
        foreach (var device in devices.EnumerateArray())
        {
            if (!device.TryGetProperty("inserted", out var inserted) || !device.TryGetProperty("qdev", out var qdev))
                continue;
            // An id as it is, or a path with the id in it: /machine/peripheral/virtio-disk0/virtio-backend.
            foreach (var part in (qdev.GetString() ?? "").Split('/', StringSplitOptions.RemoveEmptyEntries))
                nodes.TryAdd(part, Read(inserted));
        }

        return nodes;
    }

    /// <summary>The answer to <see cref="QueryAll"/>: the nodes by their own name.</summary>
    public static IReadOnlyDictionary<string, BlockNode> ParseAll(string answer)
    {
        using var document = JsonDocument.Parse(answer);
        return document.RootElement.TryGetProperty("return", out var nodes)
            ? nodes.EnumerateArray().Select(Read).DistinctBy(node => node.Node, StringComparer.Ordinal)
                .ToDictionary(node => node.Node, StringComparer.Ordinal)
            : new Dictionary<string, BlockNode>(StringComparer.Ordinal);
    }

    /// <summary>libvirt's name for the node of an image's format.</summary>
    public static string NameOf(int index) => $"libvirt-{index}-format";

    private static BlockNode Read(JsonElement inserted)
    {
        var image = inserted.TryGetProperty("image", out var found) ? found : default;
        var bitmaps = new Dictionary<string, BitmapHealth>(StringComparer.Ordinal);
        if (inserted.TryGetProperty("dirty-bitmaps", out var list))
        {
            foreach (var bitmap in list.EnumerateArray())
            {
                if (Text(bitmap, "name") is { Length: > 0 } name)
                    bitmaps[name] = Health(bitmap);
            }
        }

        return new BlockNode(
            Text(inserted, "node-name") ?? "",
            FileOf(Text(inserted, "file")),
            OfFormat(image, "compat"),
            image.ValueKind == JsonValueKind.Object && image.TryGetProperty("virtual-size", out var size) ? size.GetInt64() : null,
            OfFormat(image, "data-file"),
            bitmaps);
    }

    private static BitmapHealth Health(JsonElement bitmap) =>
        !Flag(bitmap, "recording") || !Flag(bitmap, "persistent") || Flag(bitmap, "inconsistent") ? BitmapHealth.Broken
        : Flag(bitmap, "busy") ? BitmapHealth.Busy
        : BitmapHealth.Recording;

    private static string? OfFormat(JsonElement image, string name) =>
        image.ValueKind == JsonValueKind.Object
        && image.TryGetProperty("format-specific", out var specific)
        && specific.TryGetProperty("data", out var data)
            ? Text(data, name)
            : null;

    private static string? FileOf(string? text) => text is not null && text.StartsWith('/') ? text : null;

    private static bool Flag(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
