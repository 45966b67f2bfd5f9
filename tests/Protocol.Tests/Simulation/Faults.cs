// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>How rough a simulation is, per request (chances) and per step of the driver (jumps).</summary>
internal sealed record Faults(double Crash, double Error, double Pause, double Jump)
{
    public static readonly Faults None = new(0, 0, 0, 0);

    /// <summary>One seed in four is calm, so that long histories occur too.</summary>
    public static Faults Choose(Random random) => random.Next(4) == 0
        ? new Faults(0.0003, 0, 0.01, 0)
        : new Faults(random.NextDouble() * 0.004, random.NextDouble() * 0.006, random.NextDouble() * 0.02, random.NextDouble() * 0.0006);
}

/// <summary>What occurred in simulations: proof that the adversary was there.</summary>
internal sealed class Counters
{
    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);

    public long this[string what] => _counts.GetValueOrDefault(what);

    public void Count(string what, long by = 1) => _counts[what] = this[what] + by;

    public void Add(Counters others)
    {
        foreach (var (what, count) in others._counts)
            Count(what, count);
    }

    public override string ToString() => string.Join(", ", _counts.Select(entry => $"{entry.Key} {entry.Value}"));
}
