// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Cli.Output;

/// <summary>Sizes and times for people.</summary>
internal static class Sizes
{
    private static readonly string[] Units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

    public static string Bytes(long bytes)
    {
        double value = bytes;
        var unit = 0;
        while (value >= 1024 && unit < Units.Length - 1)
        {
            value /= 1024;
            unit++;
        }

        return unit == 0 ? $"{bytes} B" : $"{value:0.0} {Units[unit]}";
    }

    /// <summary>A size as users write it: a number and an optional K, M, G or T (powers of 1024).</summary>
    public static bool TryParse(string text, out long bytes)
    {
        bytes = 0;
        var trimmed = text.Trim().ToUpperInvariant();
        foreach (var ending in (string[])["IB", "B"])
        {
            if (trimmed.EndsWith(ending, StringComparison.Ordinal))
            {
                trimmed = trimmed[..^ending.Length];
                break;
            }
        }

        var shift = trimmed.Length == 0 ? -1 : "KMGT".IndexOf(trimmed[^1], StringComparison.Ordinal);
        var digits = shift >= 0 ? trimmed[..^1] : trimmed;
        if (!long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            return false;
        shift = (shift + 1) * 10;
        if (number > long.MaxValue >> shift)
            return false;
        bytes = number << shift;
        return true;
    }

    public static string Time(DateTimeOffset time) =>
        time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    public static string Duration(TimeSpan time) => time.TotalHours >= 1
        ? $"{(int)time.TotalHours}:{time:mm\\:ss}"
        : $"{time:m\\:ss}";
}
