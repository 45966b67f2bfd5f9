// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>
/// The protocol, explored whole: nothing is lost. With any one rule taken out something is, or another rule holds alone what it held;
/// then taking out both loses something (docs/concurrency.md).
/// </summary>
public sealed class ModelTests
{
    private static readonly Dictionary<string, (ModelScope Scope, long Floor)> Scopes = new(StringComparer.Ordinal)
    {
        ["two writers, two collectors"] = (new(2, false, 2, 1), 10_000_000),
        ["two writers, two epochs"] = (new(2, false, 1, 2), 8_000_000),
        ["a writer and a reader, copies, repacking"] = (new(1, true, 1, 1, Copies: true, Repack: true), 100_000),
        ["a writer, copies, two collectors that repack"] = (new(1, false, 2, 1, Copies: true, Repack: true), 1_000_000),
        ["a writer, two collectors, page by page"] = (new(1, false, 2, 1, Pages: true), 300_000),
        ["a writer, undo, keys removed, two epochs"] = (new(1, false, 1, 2, Keys: true, Undo: true), 200_000),
        ["two writers, adoption, two collectors"] = (new(2, false, 2, 1, Adoption: true), 10_000_000),
        ["two writers, adoption, two epochs"] = (new(2, false, 1, 2, Adoption: true), 8_000_000),
        ["two writers, adoption, keys removed"] = (new(2, false, 1, 1, Keys: true, Adoption: true), 1_500_000),
        ["two writers, undo, keys removed"] = (new(2, false, 1, 1, Undo: true, Keys: true), 2_000_000),
    };

    private static readonly ModelScope One = new(1, false, 1, 1);

    private static readonly Dictionary<string, (ModelScope Scope, ModelRules Rules)> Controls = new(StringComparer.Ordinal)
    {
        ["pins are not counted"] = (One, new() { PinsProtect = false }),
        ["pins of ended runs are not counted"] = (One, new() { EndedPinsProtect = false }),
        ["a silent run is taken for dead without its tombstone"] = (One, new() { RevokedByTombstone = false }),
        ["earlier runs are not waited for"] = (One, new() { WaitForEarlierRuns = false }),
        ["runs are listed before packs are condemned"] = (One, new() { CondemnBeforeListingRuns = false }),
        ["a writer reads what is condemned before it registers"] = (One, new() { RegisterFirst = false }),
        ["a reused pack is not looked for"] = (new(1, false, 1, 2), new() { PresenceChecked = false }),
        ["a base is not checked"] = (One, new() { BasesChecked = false }),
        ["runs are listed before points"] = (One, new() { PointsBeforeRuns = false }),
        ["two verdicts"] = (new(1, false, 2, 1), new() { SingleVerdict = false }),
        ["no copy is kept"] = (new(1, false, 1, 1, Copies: true), new() { KeepOneCopy = false }),
        ["a copy that no segment names replaces another"] = (new(1, false, 1, 1, Copies: true), new() { CopyIsUsable = false }),
        ["a deleted point is dead at once"] = (new(1, false, 1, 1, Undo: true), new() { ExpireDecides = false }),
        ["a writer believes a segment without its point"] = (new(2, false, 1, 1), new() { SegmentNeedsPoint = false }),
        ["a point's key goes before its segments are folded"] = (new(2, false, 1, 1, Keys: true), new() { KeysAfterFold = false }),
        ["the roster is not read"] = (new(1, false, 1, 2, Keys: true), new() { RosterHonoured = false }),
        ["a reader does not check its point"] = (new(1, true, 1, 1), new() { ReaderChecks = false }),
        ["an undo checks before it pins"] = (new(1, false, 1, 1, Undo: true), new() { UndoPinsFirst = false }),
        ["an adopted pack is not named"] = (new(2, false, 1, 1, Adoption: true), new() { AdoptedIsNamed = false }),
        ["packs go before the index without them"] = (new(1, false, 1, 1, Repack: true), new() { IndexBeforeDelete = false }),
        ["a writer reads the index before what is condemned, and does not look for the pack"] =
            (One, new() { CondemnBeforeIndex = false, PresenceChecked = false }),
        ["superseded names are forgotten, and a writer does not look for the pack"] =
            (new(1, false, 1, 2, Keys: true), new() { SupersededCumulative = false, PresenceChecked = false }),
    };

    private static readonly Dictionary<string, (ModelScope Scope, ModelRules Rules)> Redundant = new(StringComparer.Ordinal)
    {
        // Who looks for the pack before it reuses it finds what these two would have told it.
        ["a writer reads the index before what is condemned"] = (new(1, false, 1, 2), new() { CondemnBeforeIndex = false }),
        ["superseded names are forgotten"] = (new(1, false, 1, 2, Keys: true), new() { SupersededCumulative = false }),

        // The index that is there before both says which segments count and which packs there are, whether a writer asks for packs or not.
        ["packs go before the segments that named them, and a writer does not look for the pack"] =
            (One, new() { SegmentsBeforePacks = false, PresenceChecked = false }),
        ["packs go before the segments that named them, one collector"] =
            (new(1, false, 1, 2, Keys: true), new() { SegmentsBeforePacks = false }),
        ["packs go before the segments that named them, two writers"] = (new(2, false, 1, 1), new() { SegmentsBeforePacks = false }),
        ["packs go before the segments that named them, copies and a reader"] =
            (new(1, true, 1, 1, Copies: true, Repack: true), new() { SegmentsBeforePacks = false }),

        // A run that adopts is waited for, whoever wrote the pack, and then its own segment names it.
        ["packs of running runs are adopted and condemned"] = (new(2, false, 1, 1, Adoption: true), new() { LiveRunsSpared = false }),

        // The run is waited for, and then its segment counts or it is revoked; the rule only saves the wait.
        ["packs of running runs are condemned"] = (new(2, false, 1, 1), new() { LiveRunsSpared = false }),
    };

    public static TheoryData<string> ScopeNames => [.. Scopes.Keys];

    public static TheoryData<string> ControlNames => [.. Controls.Keys];

    public static TheoryData<string> RedundantNames => [.. Redundant.Keys];

    [Theory]
    [MemberData(nameof(ScopeNames))]
    public void Protocol_LosesNothing(string scope)
    {
        var found = Exploration.Run(new ModelProtocol(new ModelRules(), Scopes[scope].Scope));
        TestContext.Current.TestOutputHelper?.WriteLine($"{scope}: {found.States} states, {found.Depth} steps deep.");
        Assert.True(found.Trace is null, string.Join(Environment.NewLine, found.Trace ?? []));
        Assert.True(found.States > Scopes[scope].Floor, $"Only {found.States} states; more than {Scopes[scope].Floor} are expected.");
    }

    [Theory]
    [MemberData(nameof(ControlNames))]
    public void RuleTakenOut_LosesData(string control)
    {
        var (scope, rules) = Controls[control];
        var found = Exploration.Run(new ModelProtocol(rules, scope));
        TestContext.Current.TestOutputHelper?.WriteLine($"When {control} ({found.States} states):");
        foreach (var step in found.Trace ?? [])
            TestContext.Current.TestOutputHelper?.WriteLine($"  {step}");
        Assert.True(found.Trace is not null, $"Nothing is lost when {control}, in {found.States} states.");
    }

    [Theory]
    [MemberData(nameof(RedundantNames))]
    public void RuleThatAnotherHoldsToo_TakenOut_LosesNothing(string control)
    {
        var (scope, rules) = Redundant[control];
        var found = Exploration.Run(new ModelProtocol(rules, scope));
        Assert.True(found.Trace is null, string.Join(Environment.NewLine, found.Trace ?? []));
        Assert.True(found.States > 10_000, $"Only {found.States} states.");
    }
}
