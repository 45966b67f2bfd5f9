// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage.Tests;

public sealed class IndexTests
{
    [Theory]
    [InlineData(1000)]
    [InlineData(400_000)] // beyond what is kept in memory: mapped
    public void BlobTable_FindsEveryIdAndNoOther(int count)
    {
        using var table = new BlobTable();
        for (var i = 0; i < count; i++)
            table.Set(EntryOf(i, pack: 0));
        Assert.Equal(count, table.Count);
        for (var i = 0; i < count; i++)
        {
            var id = IdOf(i);
            var slot = table.Find(in id, 0);
            Assert.True(slot >= 0, $"Id {i} is lost.");
            Assert.Equal(EntryOf(i, pack: 0), table.Get(slot));
        }

        for (var i = count; i < count + 1000; i++)
            Assert.Equal(-1, table.Find(IdOf(i), 0));
    }

    [Fact]
    public void BlobTable_KeepsALongRunOfIdsAtOnePlace()
    {
        using var table = new BlobTable();
        var ids = Enumerable.Range(0, 2000).Select(i => BlobId.From([.. new byte[8], .. BlobId.AsSpan(IdOf(i))[8..]])).ToArray();
        foreach (var id in ids)
            table.Set(EntryOf(1, pack: 0) with { Id = id });
        Assert.All(ids, id => Assert.True(table.Find(in id, 0) >= 0));
    }

    [Fact]
    public void BlobTable_KeepsACopyForEachPack()
    {
        using var table = new BlobTable();
        table.Set(EntryOf(1, pack: 3));
        table.Set(EntryOf(1, pack: 4));
        table.Set(EntryOf(1, pack: 3));
        var id = IdOf(1);
        Assert.Equal(2, table.Count);
        Assert.Equal(3u, table.Get(table.Find(in id, 0)).Pack);
        Assert.Equal(4u, table.Get(table.Find(in id, 1)).Pack);
        Assert.Equal(-1, table.Find(in id, 2));
    }

    [Fact]
    public void BlobTableFile_IsNotLeftBehind()
    {
        using var table = new BlobTable();
        table.Reserve(1 << 20);
        Assert.Empty(Directory.GetFiles(Path.GetTempPath(), "tidemark-index-*"));
        table.Set(EntryOf(1, pack: 0));
        Assert.True(table.Find(IdOf(1), 0) >= 0);
    }

    [Fact]
    public async Task ManySmallBlobs_FillSeveralPacksAndSegments()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
        using var segments = new SegmentWriter(repository.Context, run.Id);
        await using (var writer = new PackWriter(
            repository.Context, run.Id, isData: true, new RunCounters(), pack =>
                segments.AddAsync(pack, Fixture.Token), failure => Assert.Fail(failure.Message), Fixture.Token))
        {
            for (var i = 0; i < StorageLimits.SegmentMaxEntries + 10_000; i++)
                await writer.AppendAsync(
                    new StoredBlob(), IdOf(i), 65_536, BlobKind.Chunk, BlobCompression.None, new byte[BlobSealer.Overhead]);
            await writer.FinishAsync();
        }

        await segments.FinishAsync(Fixture.Token);
        Assert.Equal(2, segments.Written.Count);
        Assert.Equal(9, store.Objects.Keys.Count(key => key.StartsWith("packs/", StringComparison.Ordinal)));
        var none = new HashSet<string>(StringComparer.Ordinal);
        var listing = new IndexListing([.. segments.Written.Select(segment => segment.Key)], none, none);
        using var index = new RepositoryIndex(repository.Context, listing);
        await index.EnsureLoadedAsync(Fixture.Token);
        for (var i = 0; i < StorageLimits.SegmentMaxEntries + 10_000; i += 777)
            Assert.NotNull(index.Find(IdOf(i), 0));
    }

    [Fact]
    public async Task CollectedIndex_ReplacesTheSegmentsItSupersedes()
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(1), 1 << 20);
        await Fixture.BackUpAsync(made, content);
        var old = store.Objects.Keys.Single(key => key.StartsWith("index/", StringComparison.Ordinal));
        var folded = "index/g00000001-0-" + new string('a', 64);
        store.Objects[folded] = made.Context.Close(folded, made.Context.Open(old, store.Objects[old]));
        store.Objects.Remove(old, out _);
        var record = $"{{\"v\":1,\"segments\":[\"{folded}\"],\"superseded\":[\"{old}\"]}}";
        store.Objects["gc/00000001/index"] = made.Context.Close("gc/00000001/index", System.Text.Encoding.UTF8.GetBytes(record));
        using var repository = await Fixture.OpenAsync(store);
        Assert.Equal(0, (await Fixture.BackUpAsync(repository, content)).NewBytes);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
    }

    [Fact]
    public void WhatCompresses_IsCompressedAndWhatDoesNotIsNot()
    {
        using var compressor = new ChunkCompressor(1, checkAll: true, new RunCounters());
        var chunk = new byte[1 << 18];
        new Random(1).NextBytes(chunk);
        var target = new byte[chunk.Length];
        Assert.Equal(0, compressor.Compress(chunk, target));
        chunk.AsSpan(0, 200_000).Fill(3);
        Assert.InRange(compressor.Compress(chunk, target), 60_000, 70_000);
        for (var i = 0; i < chunk.Length; i++)
            chunk[i] = (byte)i; // every value equally often, and yet nothing but a pattern
        Assert.InRange(compressor.Compress(chunk, target), 1, 10_000);
    }

    private static IndexEntry EntryOf(int number, uint pack) =>
        new(IdOf(number), pack, (uint)number, 100 + (uint)number % 7, 65_536, BlobKind.Chunk, BlobCompression.Zstd);

    private static BlobId IdOf(int number) => BlobId.From(SHA256.HashData(BitConverter.GetBytes(number)));
}
