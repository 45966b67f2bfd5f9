// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Tidemark.Protocol.Tests;

/// <summary>Plays many seeds on two threads, each seed on one.</summary>
internal static class Seeds
{
    private const int Threads = 2;

    /// <summary>TIDEMARK_SEED: play this one only, and print what happened.</summary>
    public static int? Only => Number("TIDEMARK_SEED");

    public static int FirstOr(int first) => Only ?? first;

    /// <summary>TIDEMARK_SEEDS: how many.</summary>
    public static int CountOr(int count) => Only is null ? Number("TIDEMARK_SEEDS") ?? count : 1;

    /// <summary>Stops at the first seed that breaks a promise; the lowest of those found is told.</summary>
    public static SeedResult Run(int first, int count, Func<int, World> play)
    {
        var counters = new Counters();
        var failures = new SortedDictionary<int, string>();
        var gate = new Lock();
        var next = first - 1;
        var begun = Stopwatch.GetTimestamp();
        void Work()
        {
            for (var seed = Interlocked.Increment(ref next); seed < first + count; seed = Interlocked.Increment(ref next))
            {
                lock (gate)
                {
                    if (failures.Count > 0)
                        return;
                }

                var (played, failure) = Played(seed, play);
                lock (gate)
                {
                    counters.Count("seeds");
                    if (played is not null)
                        counters.Add(played);
                    if (failure is not null)
                        failures.Add(seed, failure);
                }
            }
        }

        var threads = Enumerable.Range(0, Threads).Select(_ => new Thread(Work)).ToArray();
        foreach (var thread in threads)
            thread.Start();
        foreach (var thread in threads)
            thread.Join();
        var told = failures.Count == 0 ? null : $"Seed {failures.First().Key}: {failures.First().Value}";
        return new SeedResult(counters, told, Stopwatch.GetElapsedTime(begun));
    }

    private static (Counters? Counters, string? Failure) Played(int seed, Func<int, World> play)
    {
        try
        {
            var world = play(seed);
            return (world.Counters, world.Violations.Count == 0 ? null : string.Join(Environment.NewLine, world.Violations));
        }
        catch (Exception failure)
        {
            return (null, failure.ToString());
        }
    }

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var value) ? value : null;
}

/// <summary>What many seeds came to.</summary>
internal sealed record SeedResult(Counters Counters, string? Failure, TimeSpan Elapsed);
