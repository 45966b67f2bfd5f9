// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Storm.Tests;

/// <summary>
/// Random operations on one machine with two disks, two at a time: whatever happens to the machine, each restore point is what its
/// disks held, and stays so. <c>TIDEMARK_SEED=N</c> plays one seed, <c>TIDEMARK_OPERATIONS=N</c> sets how long.
/// </summary>
public sealed class StormTests
{
    private const int Threads = 2;

    // A benign operation leaves a backup incremental. Over many backups as many as these must have been so.
    private const double LeastIncremental = 1.0 / 3;

    [Fact]
    public async Task Seeds_EveryPointIsTheTruthAndStaysSo()
    {
        var isLong = Environment.GetEnvironmentVariable("TIDEMARK_LONG") == "1";
        var only = Number("TIDEMARK_SEED");
        var operations = Number("TIDEMARK_OPERATIONS") ?? (isLong ? 100 : 60);
        var seeds = only is { } seed ? [seed] : Enumerable.Range(isLong ? 101 : 1, isLong ? 30 : 6).ToArray();
        var tally = new StormTally();
        var failures = new SortedDictionary<int, string>();
        var gate = new Lock();
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, Threads).Select(_ => Task.Run(async () =>
        {
            for (var i = Interlocked.Increment(ref next); i < seeds.Length; i = Interlocked.Increment(ref next))
            {
                var (played, failure) = await PlayAsync(seeds[i], operations);
                lock (gate)
                {
                    tally.Add(played);
                    if (failure is not null)
                        failures.Add(seeds[i], failure);
                }
            }
        })));
        TestContext.Current.TestOutputHelper?.WriteLine($"{tally}");
        if (failures.Count > 0)
            Assert.Fail($"{failures.Count} of {seeds.Length} seeds failed.\n\n{string.Join("\n\n", failures.Values)}");
        Assert.True(
            tally.Incremental >= tally.Benign * LeastIncremental, $"A storm in which everything is read in full proves nothing: {tally}");
    }

    private static async Task<(StormTally Tally, string? Failure)> PlayAsync(int seed, int operations)
    {
        await using var storm = new Storm(seed);
        try
        {
            await storm.PlayAsync(operations);
            return (storm.Tally, null);
        }
        catch (Exception e)
        {
            return (storm.Tally, $"TIDEMARK_SEED={seed} TIDEMARK_OPERATIONS={operations}\n{storm.Log}\n{e}");
        }
    }

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var value) ? value : null;
}
