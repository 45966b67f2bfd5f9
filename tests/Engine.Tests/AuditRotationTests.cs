// SPDX-License-Identifier: Apache-2.0
using FsCheck;
using FsCheck.Fluent;
using Tidemark.Blocks;
using Tidemark.Engine.Auditing;
using Tidemark.TestKit;

namespace Tidemark.Engine.Tests;

/// <summary>The rotation of the audit as pure data: what is read, in which order, at what cost, and what is known afterwards.</summary>
public sealed class AuditRotationTests
{
    private const int ChunkSize = 1 << 16;

    [Theory]
    [InlineData(10_000, null, 0, 200)] // 2 % of 625 MiB is less than 256 MiB
    [InlineData(1_000_000, null, 0, 4096)] // 256 MiB is less than 2 % of 61 GiB
    [InlineData(1_000_000, null, 100, 4196)]
    [InlineData(1_000_000, null, 999_999, 20_000)]
    [InlineData(10_000, "0.1", 0, 10)]
    [InlineData(10_001, "0.1", 0, 11)]
    [InlineData(10, "1", 0, 1)]
    [InlineData(10, "0", 0, 0)]
    [InlineData(10, "100", 0, 10)]
    public void Budget_IsRoundedUpToAChunk(long chunks, string? percent, long changedChunks, long expected)
    {
        var budget = percent is null ? AuditBudget.Default : AuditBudget.OfPercent(decimal.Parse(percent, null));
        Assert.Equal(expected, budget.ChunksOf(chunks * ChunkSize, ChunkSize, changedChunks * ChunkSize));
        Assert.Equal(percent is null && chunks == 1_000_000, budget.NeedsChanges(chunks * ChunkSize));
    }

    [Fact]
    public void BudgetInBytes_IsRoundedUpAndAtMostTheDisk()
    {
        Assert.Equal(2, AuditBudget.OfBytes(ChunkSize + 1).ChunksOf(10 * ChunkSize, ChunkSize, 0));
        Assert.Equal(10, AuditBudget.OfBytes(1L << 50).ChunksOf(10 * ChunkSize, ChunkSize, 0));
        Assert.Equal(0, AuditBudget.Off.ChunksOf(10 * ChunkSize, ChunkSize, 0));
        Assert.Equal(1, AuditBudget.OfBytes(1L << 50).ChunksOf(512, ChunkSize, 0));
    }

    // Any dirty pattern, any size, any percentage: after ceil(100 / percent) runs every chunk was read, as dirty or for the audit, and no
    // run read more for the audit than its budget allows.
    [Fact]
    public void EveryChunk_IsCoveredWithinItsRuns_AtNoMoreThanTheBudget()
    {
        var gen = from chunks in Gen.Choose(1, 300)
                  from percent in Gen.Choose(1, 1000)
                  from seed in Gen.Choose(0, int.MaxValue)
                  select (chunks, percent / 10m, seed);
        Prop.ForAll(gen.ToArbitrary(), scenario => Rotate(scenario.chunks, scenario.Item2, scenario.seed))
            .QuickCheckThrowOnFailure();
    }

    private static void Rotate(int chunks, decimal percent, int seed)
    {
        var random = new Random(seed);
        var budget = AuditBudget.OfPercent(percent);
        var bytes = new byte[chunks * ChunkSize - random.Next(ChunkSize)];
        foreach (var chunk in Enumerable.Range(0, chunks).Where(_ => random.Next(3) > 0))
            bytes[chunk * (long)ChunkSize] = 1;
        var source = new MemoryDisk(bytes);
        var seen = new HashSet<long>();
        var coverage = Coverage.None(chunks);
        long next = random.Next(2 * chunks);
        var length = budget.ChunksOf(bytes.Length, ChunkSize, 0);
        var runs = (int)Math.Ceiling(100 / percent);
        var model = new long[chunks];
        for (var run = 1; run <= runs; run++)
        {
            var window = AuditWindow.From(next, length, chunks);
            var witnesses = Enumerable.Range(0, chunks).Where(_ => random.Next(20) == 0).Select(chunk => (long)chunk).ToList();
            var dirty = Dirty(random, bytes.Length);
            var (covered, read) = Read(source, new AuditPlan(window, witnesses), dirty);
            seen.UnionWith(covered);
            var free = AuditedChunks.MostWitnesses;
            Assert.True(read <= length + free, $"Read {read} chunks of a budget of {length} and {free} witnesses.");
            for (var chunk = 0; chunk < chunks; chunk++)
                model[chunk] = window.Contains(chunk) ? run : model[chunk];
            coverage = coverage.With(window, run, $"{run}", DateTimeOffset.UnixEpoch.AddDays(run));
            AssertNeverTooYoung(coverage, model);
            next = window.Next;
        }

        Assert.Equal(chunks, seen.Count);
        Assert.True(coverage.Oldest!.Seq > 0);
    }

    // What the spans say is what happened, or older where spans were taken together.
    private static void AssertNeverTooYoung(Coverage coverage, long[] model)
    {
        Assert.InRange(coverage.Spans.Count, 1, Coverage.MostSpans);
        Assert.Equal(model.Length, coverage.Spans[^1].To);
        var distinct = model.Zip(model.Skip(1)).Count(pair => pair.First != pair.Second) + 1;
        for (var chunk = 0; chunk < model.Length; chunk++)
        {
            var said = coverage.Of(chunk).Seq;
            Assert.True(said <= model[chunk], $"Chunk {chunk}: said {said}, was {model[chunk]}.");
            if (distinct <= 2)
                Assert.Equal(model[chunk], said);
        }
    }

    // Everything that was read or is known to be zero, and how many chunks were read for the audit.
    private static (HashSet<long> Covered, long Read) Read(MemoryDisk source, AuditPlan plan, RangeSet dirty)
    {
        var chunks = new AuditedChunks(source, ChunkSize, plan).FindAsync(dirty.ToAsyncEnumerable(), EngineLab.Token);
        var covered = new HashSet<long>();
        var dirtyChunks = dirty.AlignOut(ChunkSize, source.Size)
            .SelectMany(range => Enumerable.Range((int)(range.Offset / ChunkSize), (int)((range.Length + ChunkSize - 1) / ChunkSize)))
            .Select(chunk => (long)chunk).ToHashSet();
        long read = 0;
        long position = 0;
        foreach (var run in chunks.ToBlockingEnumerable())
        {
            Assert.True(run.Range.Offset >= position && run.Range.Offset % ChunkSize == 0, $"{run.Range} after {position}.");
            position = run.Range.End;
            for (var at = run.Range.Offset; at < run.Range.End; at += ChunkSize)
            {
                var chunk = at / ChunkSize;
                Assert.Equal(run.IsAudit, !dirtyChunks.Contains(chunk));
                Assert.True(covered.Add(chunk));
                read += run is { IsAudit: true, Kind: ExtentKind.Data } ? 1 : 0;
                if (run.Kind == ExtentKind.Zero)
                    Assert.Equal(0, source.Bytes[at]);
            }
        }

        Assert.Superset(dirtyChunks, covered);
        return (covered, read);
    }

    private static RangeSet Dirty(Random random, long size)
    {
        var dirty = new RangeSet();
        for (long at = random.Next(4 * ChunkSize); at < size; at += random.Next(1, random.Next(2, 20 * ChunkSize)))
        {
            var length = Math.Min(random.Next(512, random.Next(513, 6 * ChunkSize)), size - at);
            dirty.Add(new ByteRange(at, length));
            at += length;
        }

        return dirty;
    }

    [Fact]
    public void Neighbours_AreReadWithWhatTheWindowLeaves()
    {
        var source = new MemoryDisk(Enumerable.Repeat((byte)1, 20 * ChunkSize).ToArray());
        var dirty = new RangeSet();
        dirty.Add(new ByteRange(0, 2 * ChunkSize)); // two of the window's four chunks cost the audit nothing
        dirty.Add(new ByteRange(10 * ChunkSize + 5, 10));
        var (covered, read) = Read(source, new AuditPlan(AuditWindow.From(0, 4, 20), []), dirty);
        Assert.Equal([0, 1, 2, 3, 9, 10, 11], covered.Order());
        Assert.Equal(4, read);
    }

    [Fact]
    public void Coverage_OfAnyRestorePoint_IsCheckedBeforeItIsBelieved()
    {
        var good = new Storage.AuditedSpan(10, 3, "a", null);
        Assert.Equal(3, Coverage.Read([good], 10).Oldest!.Seq);
        foreach (var wrong in (Storage.AuditedSpan[][])[[], [good with { To = 9 }], [good, good], [good with { Seq = -1 }],
            [good with { To = 0 }, good], [.. Enumerable.Range(1, 100).Select(to => good with { To = to, Seq = to })]])
            Assert.Equal(0, Coverage.Read(wrong, wrong.Length > 99 ? 100 : 10).Oldest!.Seq);
    }
}
