// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>How much of the packs one verification reads: bytes, or a percentage of all of them.</summary>
public sealed record VerifyBudget
{
    private VerifyBudget(long bytes, double percent) => (Bytes, Percent) = (bytes, percent);

    internal long Bytes { get; }

    internal double Percent { get; }

    /// <exception cref="ArgumentOutOfRangeException">Not above zero.</exception>
    public static VerifyBudget OfBytes(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        return new VerifyBudget(bytes, 0);
    }

    /// <exception cref="ArgumentOutOfRangeException">Not above 0 and at most 100.</exception>
    public static VerifyBudget OfPercent(double percent)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(percent);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(percent, 100);
        return new VerifyBudget(0, percent);
    }

    internal long Of(long total) => Bytes > 0 ? Bytes : (long)Math.Ceiling(total / 100.0 * Percent);
}

/// <summary>Which packs are due: pure.</summary>
internal static class ScrubPlan
{
    /// <summary>The packs longest unchecked until the budget is used up, the last one going beyond it; all without a budget.</summary>
    public static IReadOnlyList<string> Choose(
        IReadOnlyDictionary<string, long> packs, Func<PackName, DateTimeOffset> lastCheck, VerifyBudget? budget)
    {
        if (budget is null)
            return [.. packs.Keys];
        var left = budget.Of(packs.Values.Sum());
        var chosen = new List<string>();
        var due = packs.Keys.Select(key => (Key: key, Last: PackName.TryParse(key) is { } name ? lastCheck(name) : default))
            .OrderBy(pack => pack.Last).ThenBy(pack => pack.Key, StringComparer.Ordinal);
        foreach (var (key, _) in due)
        {
            if (left <= 0)
                break;
            chosen.Add(key);
            left -= packs[key];
        }

        return chosen;
    }
}
