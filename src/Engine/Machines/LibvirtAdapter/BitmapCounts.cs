// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>How many bytes the bitmaps of a running machine name as written, from QEMU's answer to <c>query-block</c>.</summary>
internal static class BitmapCounts
{
    /// <summary>By device alias, then by bitmap. A bitmap that a lower image of the chain has too is left out: its count is in
    /// parts.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyDictionary<string, long>> Parse(string answer)
    {
        var found = new Dictionary<string, IReadOnlyDictionary<string, long>>(StringComparer.Ordinal);
        using var document = JsonDocument.Parse(answer);
        if (!document.RootElement.TryGetProperty("return", out var devices))
            return found;
        foreach (var device in devices.EnumerateArray())
        {
            if (!device.TryGetProperty("inserted", out var inserted) || !device.TryGetProperty("qdev", out var qdev))
                continue;
            var counts = Read(inserted);
            foreach (var part in (qdev.GetString() ?? "").Split('/', StringSplitOptions.RemoveEmptyEntries))
                found.TryAdd(part, counts);
        }

        return found;
    }

    private static Dictionary<string, long> Read(JsonElement inserted)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        if (!inserted.TryGetProperty("dirty-bitmaps", out var bitmaps))
            return counts;
        var below = inserted.TryGetProperty("image", out var image) ? Below(image) : [];
        foreach (var bitmap in bitmaps.EnumerateArray())
        {
            if (bitmap.TryGetProperty("name", out var name) && name.GetString() is { Length: > 0 } text && !below.Contains(text)
                && bitmap.TryGetProperty("count", out var count))
                counts[text] = count.GetInt64();
        }

        return counts;
    }

    private static HashSet<string> Below(JsonElement image)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        while (image.TryGetProperty("backing-image", out var backing))
        {
            image = backing;
            if (image.TryGetProperty("format-specific", out var specific) && specific.TryGetProperty("data", out var data)
                && data.TryGetProperty("bitmaps", out var bitmaps))
                names.UnionWith(bitmaps.EnumerateArray().Select(bitmap => bitmap.GetProperty("name").GetString() ?? ""));
        }

        return names;
    }
}
