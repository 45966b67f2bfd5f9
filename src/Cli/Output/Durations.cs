// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine;

namespace Tidemark.Cli.Output;

/// <summary>Times as users write them: a number and m, h, d or w.</summary>
internal static class Durations
{
    private const double MaxDays = 36_500;

    /// <exception cref="EngineException">It is no such time.</exception>
    public static TimeSpan Parse(string option, string text)
    {
        var days = text.Length == 0 ? 0 : char.ToLowerInvariant(text[^1]) switch
        {
            'm' => 1 / 1440.0,
            'h' => 1 / 24.0,
            'd' => 1,
            'w' => 7,
            _ => 0,
        };
        return days > 0 && int.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number * days <= MaxDays
            ? TimeSpan.FromDays(number * days)
            : throw EngineException.Usage($"{option} '{text}' is not a number followed by m, h, d or w.");
    }
}
