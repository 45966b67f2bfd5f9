// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>The real code of the repository on a simulated store, seed by seed (docs/testing.md).</summary>
public sealed class SimulationTests
{
    private const int LeastOperations = 200;

    // Without these the adversary was not there.
    private static readonly string[] MustOccur =
    [
        "crashes", "lost answers", "zombies", "late requests of the living", "pauses",
        "revocations", "revocations by a collector", "revocations by a host", "runs revoked",
        "epochs resumed and finished", "collections that waited", "points expired", "packs deleted", "repacks",
        "bases found deleted", "inherited from a point being deleted", "commits with reused chunks",
        "packs of ended runs adopted",
        "restores", "restores of a point being deleted", "packs deleted beside readers",
        "points brought back", "undos that came too late",
    ];

    [Fact]
    public void Seeds_LoseNothing()
    {
        if (Seeds.Only is { } only)
            Show(only);
        var result = Seeds.Run(Seeds.FirstOr(1), Seeds.CountOr(10_000), seed => Play(seed));
        TestContext.Current.TestOutputHelper?.WriteLine($"{result.Counters}; {result.Elapsed.TotalSeconds:0} s");
        Assert.True(result.Failure is null, result.Failure);
        if (result.Counters["seeds"] < 2000)
            return; // someone looks for something
        var missing = MustOccur.Where(what => result.Counters[what] == 0);
        Assert.True(!missing.Any(), $"Never occurred: {string.Join(", ", missing)}.");
        Assert.Equal(0, result.Counters["seeds too short"]);
    }

    [Fact]
    public void Seed_PlayedTwice_DoesTheSame()
    {
        for (var seed = 1; seed <= 20; seed++)
        {
            List<string> first = [], second = [];
            Play(seed, first);
            Play(seed, second);
            Assert.Equal(first, second);
        }
    }

    /// <summary>Scenes that go straight for the moment in which a rule counts: with all rules nothing is lost there either.</summary>
    [Theory]
    [MemberData(nameof(PlotNames))]
    public void Plot_LosesNothing(string plot)
    {
        if (Seeds.Only is { } only)
            Show(only, plot: plot);
        var result = Seeds.Run(Seeds.FirstOr(1), Seeds.CountOr(100), seed => Play(seed, plot: plot));
        TestContext.Current.TestOutputHelper?.WriteLine($"{plot}: {result.Counters}; {result.Elapsed.TotalSeconds:0} s");
        Assert.True(result.Failure is null, result.Failure);
        Assert.True(Seeds.Only is not null || result.Counters["packs deleted"] > 0, "Nothing was ever deleted.");
        Assert.True(Seeds.Only is not null || plot != Plots.Share || result.Counters["packs adopted"] > 100, "Nothing was shared.");
    }

    public static TheoryData<string> PlotNames => [.. Plots.Names];

    /// <summary>Plays one seed and prints every request.</summary>
    internal static void Show(
        int seed, WriterRules? writerRules = null, CollectorRules? collectorRules = null, string? plot = null)
    {
        List<string> trace = [];
        try
        {
            var world = Play(seed, trace, writerRules, collectorRules, plot);
            trace.AddRange(world.Violations);
        }
        finally
        {
            foreach (var line in trace)
                TestContext.Current.TestOutputHelper?.WriteLine(line);
        }
    }

    internal static World Play(
        int seed, List<string>? trace = null, WriterRules? writerRules = null, CollectorRules? collectorRules = null, string? plot = null)
    {
        var world = plot is null
            ? Scene.Begin(seed, trace, writerRules, collectorRules)
            : Plots.Begin(plot, seed, trace, writerRules, collectorRules);
        world.Run();
        world.Counters.Count("seeds too short", world.Counters["operations"] < LeastOperations ? 1 : 0);
        Judge.Judged(world);
        world.Release();
        return world;
    }
}
