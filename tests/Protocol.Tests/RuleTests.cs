// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// Rules taken out of the real code are caught by the simulation that the whole code passes: by chance, or in a plot of their own.
/// </summary>
public sealed class RuleTests
{
    private const int Budget = 3000;
    private const int PlotBudget = 1500;

    private static readonly Dictionary<string, WriterRules> OfWriters = new(StringComparer.Ordinal)
    {
        ["a run registers last"] = new() { RegisterFirst = false },
        ["bases are not checked"] = new() { CheckBases = false },
        ["condemned packs are reused"] = new() { CondemnedSpared = false },
        ["a revoked run says that it committed"] = new() { TombstoneHonoured = false },
    };

    private static readonly Dictionary<string, CollectorRules> OfCollectors = new(StringComparer.Ordinal)
    {
        ["earlier runs are not waited for"] = new() { WaitForEarlierRuns = false },
        ["two verdicts"] = new() { SingleVerdict = false },
        ["nothing is marked again"] = new() { MarkAgain = false },
        ["runs are listed before points"] = new() { PointsBeforeRuns = false },
        ["no copy is kept"] = new() { KeepOneCopy = false },
        ["a collector does not read the roster"] = new() { GoneStaysGone = false },
    };

    // Rules whose moment is too seldom for chance: each has a plot that goes straight for it. Two hold what readers need to find what
    // was moved, one of them at a time.
    private static readonly Dictionary<string, CollectorRules> OfPlots = new(StringComparer.Ordinal)
    {
        [Plots.Heir] = new() { PinsProtect = false },
        [Plots.Move] = new() { IndexBeforeDelete = false, SegmentsBeforePacks = false },
        [Plots.Undo] = new() { ExpireAfterWindow = false },
        [Plots.Gap] = new() { CondemnBeforeListingRuns = false },
    };

    // docs/concurrency.md says which other rule holds what these hold.
    private static readonly Dictionary<string, (WriterRules Writers, CollectorRules Collectors)> Redundant = new(StringComparer.Ordinal)
    {
        ["the index is read before what is condemned"] = (new() { CondemnBeforeIndex = false }, new()),
        ["a writer does not read the roster"] = (new() { GoneStaysGone = false }, new()),
        ["packs of running runs are condemned"] = (new(), new() { PackOfLiveRunSpared = false }),
        ["packs go before the segments that named them"] = (new(), new() { SegmentsBeforePacks = false }),
        ["packs go before the index without them"] = (new(), new() { IndexBeforeDelete = false }),
    };

    public static TheoryData<string> RedundantNames => [.. Redundant.Keys];

    public static TheoryData<string> PlotNames => [.. OfPlots.Keys];

    public static TheoryData<string> Names => [.. OfWriters.Keys, .. OfCollectors.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void RuleTakenOut_IsCaught(string rule)
    {
        var only = Environment.GetEnvironmentVariable("TIDEMARK_RULE");
        Assert.SkipUnless((only ?? rule) == rule, "Another rule is asked for.");
        var writers = OfWriters.GetValueOrDefault(rule);
        var collectors = OfCollectors.GetValueOrDefault(rule);
        if (Seeds.Only is { } seed)
            SimulationTests.Show(seed, writers, collectors);
        var result = Seeds.Run(Seeds.FirstOr(1), Seeds.CountOr(Budget), number => SimulationTests.Play(number, null, writers, collectors));
        var output = TestContext.Current.TestOutputHelper;
        output?.WriteLine($"When {rule}: {result.Counters["seeds"]} seeds, {result.Failure}; {result.Counters}");
        Assert.True(result.Failure is not null, $"When {rule}, {result.Counters["seeds"]} seeds lose nothing.");
    }

    [Theory]
    [MemberData(nameof(PlotNames))]
    public void RuleTakenOutInItsPlot_IsCaught(string plot)
    {
        var rules = OfPlots[plot];
        if (Seeds.Only is { } seed)
            SimulationTests.Show(seed, null, rules, plot);
        var result = Seeds.Run(
            Seeds.FirstOr(1), Seeds.CountOr(PlotBudget), number => SimulationTests.Play(number, null, null, rules, plot));
        TestContext.Current.TestOutputHelper?.WriteLine($"{plot}: {result.Counters["seeds"]} seeds, {result.Failure}; {result.Counters}");
        Assert.True(result.Failure is not null, $"Without its rule, {result.Counters["seeds"]} seeds of '{plot}' lose nothing.");
    }

    [Theory]
    [MemberData(nameof(RedundantNames))]
    public void RuleThatAnotherHoldsToo_TakenOut_LosesNothing(string rule)
    {
        var (writers, collectors) = Redundant[rule];
        var result = Seeds.Run(Seeds.FirstOr(1), Seeds.CountOr(300), number => SimulationTests.Play(number, null, writers, collectors));
        Assert.True(result.Failure is null, result.Failure);
    }
}
