// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using Tidemark.Blocks;
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>What a run under way has stored is used by others, and nothing is lost whatever becomes of it (docs/format.md 10c).</summary>
public sealed class SharingTests
{
    private const int Size = 6 << 20;
    private static readonly MachineId Other = new("web-2");

    public enum Outcome
    {
        Commits,
        Fails,
        Dies,
    }

    /// <summary>Looks around as soon as it has to store anything.</summary>
    internal static BackupRunOptions Eager => new() { Workers = 1, LookAfter = 1 };

    private static CancellationToken Token => Fixture.Token;

    [Theory]
    [InlineData(Outcome.Commits)]
    [InlineData(Outcome.Fails)]
    [InlineData(Outcome.Dies)]
    public async Task PacksOfARunUnderWay_AreUsedAndNamed_WhateverBecomesOfIt(Outcome outcome)
    {
        var content = Fixture.Content(new Random(Seed.Choose(31)), Size);
        var store = new MemoryStore();
        using var first = await Fixture.InitAsync(store);
        using var second = await Fixture.OpenAsync(store, writer: 2);
        await using var writing = await BeginAndStoreAsync(store, first, content);
        var pack = Assert.Single(ChunkPacks(store));
        var (point, adopted) = await BackUpBesideAsync(second, content);
        Assert.Equal(pack, Assert.Single(adopted).Key);
        Assert.True(point.Disk("vda").StoredBytes <= 1 << 16, $"{point.Disk("vda").StoredBytes} bytes were stored again.");
        if (outcome == Outcome.Commits)
            await writing.CommitAsync(Token);
        else if (outcome == Outcome.Fails)
            await writing.Run.FailAsync(Token);
        else
            store.Now = store.Now.AddHours(7); // no sign of life: the collector revokes it
        for (var collection = 0; collection < 3; collection++)
            await second.CollectAsync(Everything, null, Token);
        Assert.Contains(pack, store.Objects.Keys);
        await AssertSoundAsync(store, content, outcome == Outcome.Commits ? 2 : 1);
    }

    [Fact]
    public async Task PackThatTwoRunsName_IsFoldedOnce()
    {
        var content = Fixture.Content(new Random(Seed.Choose(32)), Size);
        var store = new MemoryStore();
        using var first = await Fixture.InitAsync(store);
        using var second = await Fixture.OpenAsync(store, writer: 2);
        await using (var writing = await BeginAndStoreAsync(store, first, content))
        {
            await BackUpBesideAsync(second, content);
            await writing.CommitAsync(Token);
        }

        var named = (await SegmentsAsync(first, store)).SelectMany(segment => segment.Packs).Count(pack => pack.Name.IsData);
        Assert.Equal(3, named); // the pack of each, and the first one's once more
        await first.CollectAsync(Everything, null, Token);
        var folded = await SegmentsAsync(first, store);
        var entries = folded.SelectMany(segment => Enumerable.Range(0, segment.Count)
            .Select(i => (segment[i].Id, segment.Packs[(int)segment[i].Pack].Name))).ToArray();
        Assert.NotEmpty(entries);
        Assert.Equal(entries.Length, entries.Distinct().Count());
        await AssertSoundAsync(store, content, 2);
    }

    [Theory]
    [InlineData(PackHarm.Condemned)]
    [InlineData(PackHarm.Quarantined)]
    [InlineData(PackHarm.Cut)]
    [InlineData(PackHarm.ContentsDamaged)]
    [InlineData(PackHarm.ChunksDamaged)]
    public async Task WhatMayNotBeUsed_IsStoredAgain(PackHarm harm)
    {
        var content = Fixture.Content(new Random(Seed.Choose(33)), Size);
        var store = new MemoryStore();
        using var first = await Fixture.InitAsync(store);
        using var second = await Fixture.OpenAsync(store, writer: 2);
        await using var writing = await BeginAndStoreAsync(store, first, content);
        var pack = Assert.Single(ChunkPacks(store));
        store.Harm(first, pack, harm);
        var (point, adopted) = await BackUpBesideAsync(second, content);
        Assert.Equal(harm == PackHarm.ChunksDamaged ? 1 : 0, adopted.Count); // what opens of it is used, the rest stored again
        Assert.True(point.Disk("vda").StoredBytes > 1 << 19, $"Only {point.Disk("vda").StoredBytes} bytes were stored.");
        await Fixture.AssertHoldsAsync(second, point.Disk("vda"), content);
    }

    [Fact]
    public async Task CollectorThatComesLater_WaitsForWhoUsesThePack()
    {
        var content = Fixture.Content(new Random(Seed.Choose(34)), Size);
        var store = new MemoryStore();
        using var first = await Fixture.InitAsync(store);
        using var second = await Fixture.OpenAsync(store, writer: 2);
        await using var writing = await BeginAndStoreAsync(store, first, content);
        await using (var run = await second.BeginRunAsync(Fixture.Machine, Eager, Token))
        {
            var disk = await WriteAfterALookAsync(run, content);
            await writing.Run.FailAsync(Token);
            var waiting = await second.CollectAsync(Everything, null, Token);
            Assert.Equal(Fixture.Machine.Value, Assert.Single(waiting.WaitingFor).Machine);
            await run.CommitAsync(Fixture.DraftOf(disk), Token);
        }

        for (var collection = 0; collection < 3; collection++)
            await second.CollectAsync(Everything, null, Token);
        await AssertSoundAsync(store, content, 1);
    }

    [Fact]
    public async Task AmongOthers_ADiskIsWrittenInItsOwnOrder_AndComesOutTheSame()
    {
        var content = Fixture.Content(new Random(Seed.Choose(35)), (40 << 20) - 12_345);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var alone = await InOrderAsync(repository, content);
        Assert.Single(alone.Order);
        await using var other = await repository.BeginRunAsync(Other, new BackupRunOptions(), Token);
        var orders = new List<IReadOnlyList<ByteRange>>();
        for (var attempt = 0; attempt < 5; attempt++)
        {
            var (point, order) = await InOrderAsync(repository, content);
            Assert.Equal(10, order.Count);
            Assert.Equal(alone.Point.Disk("vda").Root, point.Disk("vda").Root);
            await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
            orders.Add(order);
        }

        Assert.Contains(orders, order => !order.SequenceEqual(orders[0]));
        var without = await Assert.ThrowsAsync<InvalidOperationException>(() => InOrderAsync(repository, content, leaveOut: 1));
        Assert.Contains("chunks", without.Message, StringComparison.Ordinal);
    }

    private static CollectOptions Everything => new() { UndoWindow = TimeSpan.Zero, MaxDeletePercent = 100 };

    private static async Task<(RestorePoint Point, IReadOnlyList<ByteRange> Order)> InOrderAsync(
        Repository repository, byte[] content, int leaveOut = 0)
    {
        await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Token);
        var disk = run.OpenDisk("vda", content.Length, 16, null);
        var order = await disk.OrderAsync(Token);
        foreach (var piece in order.Skip(leaveOut))
        {
            for (var at = piece.Offset; at < piece.End; at += disk.ChunkSize)
            {
                var chunk = at / disk.ChunkSize;
                if (content.AsSpan((int)at, (int)Math.Min(disk.ChunkSize, piece.End - at)).ContainsAnyExcept((byte)0))
                    await Fixture.WriteChunkAsync(disk, content, chunk);
                else
                    await disk.ZeroAsync(chunk, chunk + 1, Token);
            }
        }

        return (await run.CommitAsync(Fixture.DraftOf(await disk.FinishAsync(Token)), Token), order);
    }

    // A run whose packs are durable and that has not committed; it goes on when it is told to.
    private static async Task<PausedRun> BeginAndStoreAsync(MemoryStore store, Repository repository, byte[] content)
    {
        var run = await repository.BeginRunAsync(Other, new BackupRunOptions { Workers = 1 }, Token);
        var draft = Fixture.DraftOf(await Fixture.WriteAsync(run, "vda", content));
        var paused = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var goOn = new ManualResetEventSlim();
        store.BeforeWrite = (_, key) =>
        {
            if (!key.StartsWith("index/", StringComparison.Ordinal))
                return;
            store.BeforeWrite = null;
            paused.SetResult();
            goOn.Wait(TimeSpan.FromMinutes(2), CancellationToken.None);
        };
        var commit = Task.Run(() => run.CommitAsync(draft, CancellationToken.None), CancellationToken.None);
        await paused.Task.WaitAsync(TimeSpan.FromMinutes(1), Token);
        return new PausedRun(run, goOn, commit);
    }

    private static async Task<(RestorePoint Point, IReadOnlyCollection<PackName> Adopted)> BackUpBesideAsync(
        Repository repository, byte[] content)
    {
        await using var run = await repository.BeginRunAsync(Fixture.Machine, Eager, Token);
        var point = await run.CommitAsync(Fixture.DraftOf(await WriteAfterALookAsync(run, content)), Token);
        return (point, run.Adopted);
    }

    /// <summary>Writes a chunk of its own first, which makes the run look around.</summary>
    internal static async Task<DiskResult> WriteAfterALookAsync(BackupRun run, byte[] content)
    {
        var own = run.OpenDisk("own", 1 << 16, 16, null);
        var buffer = MemoryPool<byte>.Shared.Rent(1 << 16);
        Random.Shared.NextBytes(buffer.Memory.Span);
        await own.WriteAsync(0, buffer, Token);
        for (var wait = 0; run.Others.Looks == 0 && wait < 6000; wait++)
            await Task.Delay(10, Token);
        Assert.True(run.Others.Looks > 0, "The run did not look around.");
        await own.FinishAsync(Token);
        return await Fixture.WriteAsync(run, "vda", content);
    }

    private static string[] ChunkPacks(MemoryStore store) =>
        [.. store.Objects.Keys.Where(key => PackName.TryParse(key) is { IsData: true })];

    private static async Task<IReadOnlyList<IndexSegment>> SegmentsAsync(Repository repository, MemoryStore store)
    {
        var listing = await IndexListing.ReadAsync(repository.Context, forWriting: false, Token);
        return [.. listing.Segments.Select(key => IndexSegment.Read(key, repository.Context.Open(key, store.Objects[key])))];
    }

    private static async Task AssertSoundAsync(MemoryStore store, byte[] content, int points)
    {
        using var afresh = await Fixture.OpenAsync(store);
        var found = (await afresh.ListPointsAsync(null, Token)).Points;
        Assert.Equal(points, found.Count);
        foreach (var point in found)
            await Fixture.AssertHoldsAsync(afresh, point.Disk("vda"), content);
        Assert.True((await afresh.VerifyAsync(VerifyLevel.Data, null, null, Token)).IsSound);
    }

    private sealed class PausedRun(BackupRun run, ManualResetEventSlim goOn, Task<RestorePoint> commit) : IAsyncDisposable
    {
        public BackupRun Run => run;

        public async Task CommitAsync(CancellationToken cancellationToken)
        {
            goOn.Set();
            await commit.WaitAsync(cancellationToken);
        }

        public async ValueTask DisposeAsync()
        {
            goOn.Set();
            await ((Task)commit).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await run.DisposeAsync();
            goOn.Dispose();
        }
    }
}
