// SPDX-License-Identifier: Apache-2.0
using FsCheck;
using FsCheck.Fluent;
using Tidemark.Engine.Checkpoints;

namespace Tidemark.Engine.Tests;

/// <summary>What holds for the checkpoints of any machine, in whatever order and from however many tools they come.</summary>
public sealed class CheckpointTreeTests
{
    private const int Cases = 500;
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    // Checkpoints as they are made one after the other, each below any earlier one or as a root, and shuffled; several share a second.
    private static Arbitrary<CheckpointRecord[]> AnyTree => Arb.From(
        from count in Gen.Choose(0, 25)
        from parents in Gen.ArrayOf(Gen.Choose(-3, 24), count)
        from seconds in Gen.ArrayOf(Gen.Choose(0, 1), count)
        from shuffled in Gen.Shuffle(Enumerable.Range(0, count).ToArray())
        select shuffled.Select(i => Record(
            $"c{i:D2}", i == 0 || parents[i] < 0 ? null : $"c{parents[i] % i:D2}", seconds.Take(i + 1).Sum())).ToArray());

    // Anything a file, a point or another tool may say.
    private static Arbitrary<CheckpointRecord[]> AnyRecords => Arb.From(
        from count in Gen.Choose(0, 12)
        from records in Gen.ArrayOf(
            from name in Gen.Elements("", "a", "b", "c", "d", "e", "../x", "a/b", "ümlaut")
            from parent in Gen.Elements(null, "a", "b", "c", "d", "e", "gone")
            from second in Gen.Choose(0, 3)
            select Record(name, parent, second), count)
        select records);

    [Fact]
    public void Order_HasParentsFirst_AndIsTheSameForAnyOrderOfInput() => Holds(AnyTree, records =>
    {
        var order = CheckpointTree.Of(records).Records.Select(record => record.Name).ToList();
        var parentsFirst = records.All(record => record.Parent is null || order.IndexOf(record.Parent) < order.IndexOf(record.Name));
        return parentsFirst
            && order.Count == records.Length
            && order.SequenceEqual(CheckpointTree.Of(records.Reverse()).Records.Select(record => record.Name));
    });

    [Fact]
    public void EveryCheckpoint_IsARootOrAChildOnce() => Holds(AnyTree, records =>
    {
        var tree = CheckpointTree.Of(records);
        var found = tree.Roots.Concat(tree.Records.SelectMany(record => tree.ChildrenOf(record.Name))).Select(record => record.Name);
        return found.Order(StringComparer.Ordinal).SequenceEqual(records.Select(record => record.Name).Order(StringComparer.Ordinal));
    });

    [Fact]
    public void DescendantsAndAncestors_AreEachOthersInverse() => Holds(AnyTree, records =>
    {
        var tree = CheckpointTree.Of(records);
        return records.All(record => tree.DescendantsOf(record.Name).All(below =>
            tree.UpFrom(below.Name).Skip(1).Any(above => above.Name == record.Name)))
            && records.Sum(record => tree.DescendantsOf(record.Name).Count)
                == records.Sum(record => tree.UpFrom(record.Name).Count() - 1);
    });

    [Fact]
    public void WithoutOne_TheOthersKeepTheirOrderAndAncestors() => Holds(AnyTree, records =>
    {
        var tree = CheckpointTree.Of(records);
        return records.All(gone =>
        {
            var rest = tree.Without(gone.Name);
            return rest.Find(gone.Name) is null
                && CheckpointTree.FindProblem([.. rest.Records]) is null
                && rest.Records.All(record => rest.UpFrom(record.Name).Select(above => above.Name)
                    .SequenceEqual(tree.UpFrom(record.Name).Select(above => above.Name).Where(name => name != gone.Name)));
        });
    });

    /// <summary>Bitmaps played through: each gets every write after its checkpoint. Some are lost.</summary>
    [Fact]
    public void CoveringBitmap_HoldsEveryChangeBetweenTwoPoints() => Holds(AnyTree, records =>
    {
        var tree = CheckpointTree.Of(records);
        var made = records.OrderBy(record => record.Name, StringComparer.Ordinal).ToList(); // in this order they were made
        var random = new Random(records.Length);
        var bitmaps = made.ToDictionary(record => record.Name, _ => new HashSet<int>(), StringComparer.Ordinal);
        var disks = new List<int[]>();
        var disk = new int[8];
        for (var i = 0; i < made.Count; i++)
        {
            disks.Add([.. disk]);
            var block = random.Next(disk.Length);
            disk[block]++;
            foreach (var earlier in made.Take(i + 1))
                bitmaps[earlier.Name].Add(block);
        }

        disks.Add(disk);
        var lost = made.Where(_ => random.Next(4) == 0).Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        bool Covers(int from, int to) =>
            tree.Covering(made[from].Name, to < made.Count ? made[to].Name : null, record => !lost.Contains(record.Name)) is not { } chosen
            || Enumerable.Range(0, disk.Length).All(block =>
                disks[from][block] == disks[to][block] || bitmaps[chosen.Name].Contains(block));
        return Enumerable.Range(0, made.Count).All(from => Enumerable.Range(0, made.Count + 1).All(to => Covers(from, to)))
            && made.Where(record => !lost.Contains(record.Name))
                .All(record => tree.Covering(record.Name, null, found => !lost.Contains(found.Name)) == record);
    });

    [Fact]
    public void AnyRecordsAtAll_AreATreeOrHaveAProblem_AndCanBeMended() => Holds(AnyRecords, records =>
    {
        var problem = CheckpointTree.FindProblem(records);
        var mended = CheckpointTree.Mend(records);
        var names = records.Select(record => record.Name).Where(name => name.Length > 0).Distinct().Order(StringComparer.Ordinal);
        return CheckpointTree.FindProblem([.. mended.Records]) is null
            && mended.Records.Select(record => record.Name).Order(StringComparer.Ordinal).SequenceEqual(names)
            && (problem is not null || mended.Records.SequenceEqual(CheckpointTree.Of(records).Records));
    });

    [Theory]
    [InlineData("a- b-a a-", "'a' is listed twice")]
    [InlineData("a- b-gone", "has the parent 'gone', which is not listed")]
    [InlineData("a-c b-a c-b", "as its own ancestor")]
    [InlineData("a-a", "as its own ancestor")]
    public void RecordsThatAreNoTree_AreRefusedWithTheReason(string text, string reason)
    {
        var records = text.Split(' ').Select(pair => pair.Split('-'))
            .Select(pair => Record(pair[0], pair[1].Length == 0 ? null : pair[1], 0)).ToList();
        var failure = Assert.Throws<EngineException>(() => CheckpointTree.Of(records));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TwoThousandInOneLine_AreQuick()
    {
        var records = Enumerable.Range(0, 2000).Select(i => Record($"c{i:D4}", i == 0 ? null : $"c{i - 1:D4}", i)).Reverse().ToList();
        var tree = CheckpointTree.Of(records);
        Assert.Equal("c1999", tree.Records[^1].Name);
        Assert.Equal(2000, tree.UpFrom("c1999").Count());
        Assert.Equal(1999, tree.DescendantsOf("c0000").Count);
    }

    private static CheckpointRecord Record(string name, string? parent, int second) =>
        new() { Name = name, Parent = parent, Created = Start.AddSeconds(second), Disks = [new TrackedDisk("vda")] };

    private static void Holds(Arbitrary<CheckpointRecord[]> any, Func<CheckpointRecord[], bool> property) =>
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(Cases), Prop.ForAll(any, property));
}
