// SPDX-License-Identifier: Apache-2.0
using FsCheck;
using FsCheck.Fluent;
using Tidemark.Engine.Care;

namespace Tidemark.Engine.Tests;

/// <summary>Retention by example, and what holds for any policy and any points.</summary>
public sealed class RetentionTests
{
    private const int Cases = 500;
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero); // a Thursday
    private static readonly Dictionary<string, string> NoTags = [];

    private static Arbitrary<RetentionPoint[]> AnyPoints => Arb.From(
        from count in Gen.Choose(0, 40)
        from points in Gen.ArrayOf(
            from machine in Gen.Elements("a", "b")
            from writer in Gen.Elements("h1", "h2")
            from hours in Gen.Choose(0, 24 * 800)
            from skew in Gen.Frequency((8, Gen.Constant(0)), (1, Gen.Choose(-9000, 0)), (1, Gen.Choose(0, 90_000)))
            from isProtected in Gen.Frequency((9, Gen.Constant(false)), (1, Gen.Constant(true)))
            select (machine, writer, hours, skew, isProtected), count)
        select points.OrderBy(point => point.hours).Select((point, i) => new RetentionPoint(
            $"{i:D4}", point.machine, point.writer, i, Start.AddHours(point.hours + point.skew), Start.AddHours(point.hours), NoTags,
            point.isProtected)).ToArray());

    private static Arbitrary<RetentionPolicy> AnyPolicy => Arb.From(
        from numbers in Gen.ArrayOf(Gen.Choose(0, 5), 6)
        from within in Gen.Frequency(
            (3, Gen.Constant((TimeSpan?)null)), (1, Gen.Choose(0, 2000).Select(hours => (TimeSpan?)TimeSpan.FromHours(hours))))
        select new RetentionPolicy
        {
            Last = numbers[0],
            Hourly = numbers[1],
            Daily = numbers[2],
            Weekly = numbers[3],
            Monthly = numbers[4],
            Yearly = numbers[5],
            Within = within,
        });

    [Fact]
    public void NewestAndProtectedPoints_AlwaysStay() => Holds((policy, points) =>
    {
        var plan = RetentionPlanner.Plan(policy, points);
        var newest = points.GroupBy(point => (point.Machine, point.Writer)).Select(group => group.MaxBy(point => point.Seq)!.Id);
        var must = newest.Concat(points.Where(point => point.IsProtected).Select(point => point.Id));
        return must.All(id => plan.Single(decision => decision.Point.Id == id).Keep);
    });

    [Fact]
    public void EveryPoint_IsDecidedOnce() => Holds((policy, points) =>
        RetentionPlanner.Plan(policy, points).Select(decision => decision.Point.Id).Order()
            .SequenceEqual(points.Select(point => point.Id)));

    /// <summary>Where clocks ran forward; one that ran back counts as the point before it, as long as that is there.</summary>
    [Fact]
    public void WhatStays_StaysWhenAskedAgain() => Holds((policy, points) =>
    {
        var inOrder = points.Select(point => point with { Time = point.Stored }).ToArray();
        return RetentionPlanner.Plan(policy, [.. Kept(policy, inOrder)]).All(decision => decision.Keep);
    });

    [Fact]
    public void OtherHostsPoints_PushNothingOut() => Holds((policy, points) =>
    {
        // Within a time before the newest is the one rule that looks at all: it may keep less only as the store's clock goes on.
        policy = policy with { Within = null };
        var alone = Kept(policy, points.Where(point => point.Writer == "h1")).Select(point => point.Id);
        return alone.ToHashSet().SetEquals(Kept(policy, points).Where(point => point.Writer == "h1").Select(point => point.Id));
    });

    [Fact]
    public void MoreToKeep_NeverKeepsLess() => Holds((policy, points) =>
    {
        var more = policy with
        {
            Last = policy.Last + 1,
            Hourly = policy.Hourly + 1,
            Daily = policy.Daily + 1,
            Weekly = policy.Weekly + 1,
            Monthly = policy.Monthly + 1,
            Yearly = policy.Yearly + 1,
        };
        return Kept(policy, points).Select(point => point.Id).ToHashSet().IsSubsetOf(Kept(more, points).Select(point => point.Id));
    });

    [Fact]
    public void ClocksOfHosts_GainNothingByRunningAhead() => Holds((policy, points) =>
    {
        var ahead = points.Select(point => point with { Time = point.Time > point.Stored ? point.Stored : point.Time }).ToArray();
        return Kept(policy, points).Select(point => point.Id).SequenceEqual(Kept(policy, ahead).Select(point => point.Id));
    });

    [Fact]
    public void DailyPoints_AreThinnedAsAsked()
    {
        var points = Enumerable.Range(0, 60).Select(day => At(day, Start.AddDays(day).AddHours(3))).ToArray();
        var policy = new RetentionPolicy { Daily = 3, Weekly = 2, Monthly = 2 };
        var kept = RetentionPlanner.Plan(policy, points).Where(decision => decision.Keep).ToArray();
        // 60 days from 1 January end on Sunday 1 March: three days, two weeks (that one's, and the one before), two months.
        Assert.Equal(["0052", "0057", "0058", "0059"], kept.Select(decision => decision.Point.Id).Order());
        Assert.Equal(
            ["newest", "daily 2026-03-01", "weekly week of 2026-02-23", "monthly 2026-03"],
            kept.Single(decision => decision.Point.Id == "0059").Reasons);
        Assert.Contains("monthly 2026-02", kept.Single(decision => decision.Point.Id == "0058").Reasons);
    }

    [Fact]
    public void TagsAndAge_Keep()
    {
        var gold = new Dictionary<string, string> { ["tier"] = "gold" };
        RetentionPoint[] points =
            [At(0, Start) with { Tags = gold }, At(1, Start.AddDays(1)), At(2, Start.AddDays(8)), At(3, Start.AddDays(9))];
        var policy = new RetentionPolicy { Tags = [new("tier", "gold")], Within = TimeSpan.FromDays(2) };
        Assert.Equal(["0000", "0002", "0003"], Kept(policy, points).Select(point => point.Id));
        Assert.True(new RetentionPolicy().IsEmpty);
        Assert.False(policy.IsEmpty);
    }

    [Fact]
    public void ClockSetBack_DoesNotMakeANewPointOld()
    {
        RetentionPoint[] points = [At(0, Start.AddDays(10)), At(1, Start.AddDays(11)) with { Time = Start }];
        Assert.Equal(["0000", "0001"], Kept(new RetentionPolicy { Last = 2 }, points).Select(point => point.Id));
        Assert.Equal(["0001"], Kept(new RetentionPolicy { Daily = 5 }, points).Select(point => point.Id)); // both of the same day then
    }

    [Fact]
    public void PointThatTheNextBackupStartsFrom_Stays()
    {
        RetentionPoint[] points =
        [
            At(0, Start), At(1, Start.AddDays(1)) with { IsBase = true }, At(2, Start.AddDays(2)), At(3, Start.AddDays(3)),
        ];
        Assert.Equal(["0001", "0003"], Kept(new RetentionPolicy { Last = 1 }, points).Select(point => point.Id));
    }

    private static RetentionPoint At(int number, DateTimeOffset time) =>
        new($"{number:D4}", "a", "h1", number, time, time, NoTags, IsProtected: false);

    private static IEnumerable<RetentionPoint> Kept(RetentionPolicy policy, IEnumerable<RetentionPoint> points) =>
        RetentionPlanner.Plan(policy, [.. points]).Where(decision => decision.Keep).Select(decision => decision.Point);

    // A failure prints the shrunken case and the seed that repeats it.
    private static void Holds(Func<RetentionPolicy, RetentionPoint[], bool> property) => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(Cases).WithReplay(20_261_120UL, 3UL), Prop.ForAll(AnyPolicy, AnyPoints, property));
}
