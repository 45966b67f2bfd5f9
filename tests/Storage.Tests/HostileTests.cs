// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text.Json;

namespace Tidemark.Storage.Tests;

/// <summary>
/// A host (writer 2) that has the full key and may write anything, against the points of an honest one (writer 1). Whatever it does is
/// refused, or found and survived; no honest point ever gives wrong bytes. docs/threat-model.md says the same in words.
/// </summary>
public sealed class HostileTests
{
    private static readonly MachineId Hostile = new("hostile");

    [Fact]
    public async Task TombstoneAtARunningRunsKey_CostsThatRunOnly() // I5
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(91), 1 << 20);
        await using var run = await honest.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", content);
        await store.PutIfAbsentAsync(ObjectNames.Point(Fixture.Machine, run.Id), ReadOnlyMemory<byte>.Empty, Fixture.Token);
        await Assert.ThrowsAsync<RunRevokedException>(() => run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token));
        var point = await Fixture.BackUpAsync(honest, content);
        await Fixture.AssertHoldsAsync(honest, point.Disk("vda"), content);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ForgedCopyOfAKnownChunk_IsNeitherReusedNorRead(bool forgedFirst) // I7, I10
    {
        var content = Fixture.Content(new Random(92), 2 << 20);
        var store = new MemoryStore();
        using var hostile = await Fixture.InitAsync(store, writer: 2);
        using var honest = await Fixture.OpenAsync(store, writer: 1);
        RestorePoint? first = null;
        if (!forgedFirst)
            first = await Fixture.BackUpAsync(honest, content);
        var ids = ChunkIds(honest, content);
        await ForgeAsync(hostile, ids, BlobKind.Chunk);
        using var later = await Fixture.OpenAsync(store, writer: 1);
        await using var run = await later.BeginRunAsync(new MachineId("third"), new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", content);
        var point = await run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token);
        Assert.Equal(forgedFirst ? ids.Count : 0, disk.StoredChunks);
        using var reader = await Fixture.OpenAsync(store);
        foreach (var honestPoint in new[] { point, first }.OfType<RestorePoint>())
        {
            await Fixture.AssertHoldsAsync(reader, honestPoint.Disk("vda"), content);
            await Fixture.AssertHoldsAsync(reader, WithoutHint(honestPoint).Disk("vda"), content);
        }

        Assert.True((await reader.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token)).IsSound);
        var found = await reader.VerifyAsync(
            new VerifyOptions { Level = VerifyLevel.Data, Budget = VerifyBudget.OfPercent(100) }, null, Fixture.Token);
        Assert.StartsWith("packs/0000000000000002/", Assert.Single(found.Damaged).Key, StringComparison.Ordinal);
        Assert.Empty(found.Damaged[0].Affected);
    }

    [Fact]
    public async Task ForgedNode_IsNotRead() // I7
    {
        var content = Fixture.Content(new Random(93), 6 << 20);
        var store = new MemoryStore();
        using var hostile = await Fixture.InitAsync(store, writer: 2);
        using var honest = await Fixture.OpenAsync(store, writer: 1);
        var point = await Fixture.BackUpAsync(honest, content);
        await ForgeAsync(hostile, [point.Disk("vda").Tree.Root], BlobKind.Node);
        for (var round = 0; round < 8; round++)
        {
            using var reader = await Fixture.OpenAsync(store);
            await Fixture.AssertHoldsAsync(reader, WithoutHint(point).Disk("vda"), content);
            Assert.True((await reader.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task ForgedSegmentAboutPacksOfOthers_IsNotBelieved(int excess) // I10: an honest host trusts places in packs of its own
    {
        var content = Fixture.Content(new Random(94), 2 << 20);
        var wanted = Fixture.Content(new Random(95), 2 << 20);
        var store = new MemoryStore();
        using var hostile = await Fixture.InitAsync(store, writer: 2);
        using var honest = await Fixture.OpenAsync(store, writer: 1);
        var first = await Fixture.BackUpAsync(honest, content);
        var pack = PackName.TryParse(store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal)))!;
        var rumour = ChunkIds(honest, wanted).Select(id => new IndexEntry(id, 0, 0, 500, 65_536, BlobKind.Chunk, BlobCompression.Zstd));
        var key = await PublishAsync(hostile, [new IndexedPack(pack, (uint)(store.Objects[pack.Key].Length + excess))], [.. rumour]);
        using var later = await Fixture.OpenAsync(store, writer: 1);
        var point = await Fixture.BackUpAsync(later, wanted);
        using var reader = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(reader, point.Disk("vda"), wanted);
        await Fixture.AssertHoldsAsync(reader, first.Disk("vda"), content);
        foreach (var level in Enum.GetValues<VerifyLevel>())
        {
            var options = new VerifyOptions { Level = level, Quarantine = true };
            var found = Assert.Single((await reader.VerifyAsync(options, null, Fixture.Token)).Damaged);
            Assert.Equal(key, found.Key);
            Assert.Empty(found.Affected);
            Assert.Contains("another run", found.Problem, StringComparison.Ordinal);
        }

        Assert.DoesNotContain(store.Objects.Keys, name => name.StartsWith("bad/", StringComparison.Ordinal));
    }

    [Fact]
    public async Task PointOverwrittenWithAnotherThatOpens_IsFoundByItsSuccessor()
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(96), 1 << 20);
        var first = await Fixture.BackUpAsync(honest, content);
        var second = await Fixture.BackUpAsync(honest, content, first, []);
        using var hostile = await Fixture.OpenAsync(store, writer: 2);
        Assert.True((await hostile.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token)).IsSound);
        var key = ObjectNames.Point(Fixture.Machine, first.Id);
        var forged = first with { Disks = [first.Disk("vda") with { Root = default(BlobId).ToString(), Hint = null }] };
        store.Objects[key] = hostile.Context.Close(key, JsonSerializer.SerializeToUtf8Bytes(forged, FormatJson.Default.RestorePoint));
        using var reader = await Fixture.OpenAsync(store);
        var found = Assert.Single((await reader.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token)).Damaged);
        Assert.Equal(key, found.Key);
        Assert.Equal(first.Id, Assert.Single(found.Affected).Id);
        await Fixture.AssertHoldsAsync(reader, second.Disk("vda"), content);
    }

    [Fact]
    public async Task JunkEverywhere_IsSurvived()
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(97), 1 << 20);
        var first = await Fixture.BackUpAsync(honest, content);
        var junk = new byte[300];
        new Random(98).NextBytes(junk);
        foreach (var key in new[]
        {
            ObjectNames.Point(Hostile, RunId.New()), ObjectNames.Point(Fixture.Machine, RunId.New()), "points/x/y/z", "points/../x",
            ObjectNames.Segment(first.Id, 7), $"index/{RunId.New()}-0", "index/junk", "packs/junk",
            $"packs/0000000000000001/{first.Id}/d-00",
            "runs/junk", "bad/junk", "bad/", "scrub/209901/junk", "scrub/junk", "keys/0123456789abcdef", "keys/junk", "labels/junk",
        })
            store.Objects[key] = junk;
        using var later = await Fixture.OpenAsync(store);
        var listing = await later.ListPointsAsync(null, Fixture.Token);
        Assert.Equal(first.Id, Assert.Single(listing.Points).Id);
        Assert.Equal(2, listing.Damaged.Count);
        var second = await Fixture.BackUpAsync(later, content, first, [3]);
        using var reader = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(reader, first.Disk("vda"), content);
        await Fixture.AssertHoldsAsync(reader, second.Disk("vda"), content);
        foreach (var level in Enum.GetValues<VerifyLevel>())
        {
            var found = await reader.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
            Assert.NotEmpty(found.Damaged);
            Assert.DoesNotContain(found.Damaged, damage => damage.Affected.Count > 0);
        }

        await Fixture.BackUpAsync(later, content, second, []);
        Assert.True((await later.ListKeysAsync(Fixture.Token)).Count > 0);
    }

    [Fact]
    public async Task JunkForLabels_HidesNoPoint_AndProtectsIt()
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(100), 1 << 20);
        var point = await Fixture.BackUpAsync(honest, content);
        var labelled = await Fixture.BackUpAsync(honest, content, point, [1]);
        await honest.LabelAsync(labelled.MachineId, labelled.Id, label => label.With("kept", "yes"), Fixture.Token);
        byte[] junk = [1, 2, 3];
        string[] keys = [ObjectNames.Label(point.MachineId, point.Id, 1), ObjectNames.Label(labelled.MachineId, labelled.Id, 2)];
        foreach (var key in keys.Append(ObjectNames.Label(point.MachineId, point.Id, int.MaxValue)))
            store.Objects[key] = junk;

        using var reader = await Fixture.OpenAsync(store);
        var listing = await reader.ListPointsAsync(null, Fixture.Token);
        Assert.Equal(new HashSet<RunId> { point.Id, labelled.Id }, listing.Points.Select(found => found.Id).ToHashSet());
        Assert.All(listing.Points, found => Assert.True(found.Label.IsProtectedAt(DateTimeOffset.UtcNow)));
        Assert.Equal(["kept=yes"], listing.Points.Single(found => found.Id == labelled.Id).Tags);
        Assert.Equal(keys.Order(StringComparer.Ordinal), listing.Damaged.Select(damage => damage.DamagedObject));
        await Fixture.AssertHoldsAsync(reader, point.Disk("vda"), content);
        var verified = await reader.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token);
        Assert.Equal(keys.Order(StringComparer.Ordinal), verified.Damaged.Select(damage => damage.Key).Order(StringComparer.Ordinal));

        foreach (var named in listing.Points)
            await reader.LabelAsync(named.MachineId, named.Id, label => label with { Protect = false }, Fixture.Token);
        using var later = await Fixture.OpenAsync(store);
        var mended = await later.ListPointsAsync(null, Fixture.Token);
        Assert.Empty(mended.Damaged);
        Assert.All(mended.Points, found => Assert.False(found.Label.IsProtectedAt(DateTimeOffset.UtcNow)));
        Assert.True((await later.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
    }

    [Fact]
    public async Task EveryPackQuarantinedByALiar_CostsSpaceOnly()
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(99), 1 << 20);
        var first = await Fixture.BackUpAsync(honest, content);
        foreach (var pack in store.Objects.Keys.Where(key => key.StartsWith("packs/", StringComparison.Ordinal)).ToArray())
            store.Objects["bad/" + pack["packs/".Length..]] = [];
        using var later = await Fixture.OpenAsync(store);
        var second = await Fixture.BackUpAsync(later, content, first);
        Assert.Equal(first.Disk("vda").Root, second.Disk("vda").Root);
        using var reader = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(reader, first.Disk("vda"), content);
        var third = await Fixture.BackUpAsync(reader, content, second);
        Assert.Equal(0, third.NewBytes);
        Assert.True((await reader.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
    }

    /// <summary>The point with nothing that says where its trees begin: every reader asks the index.</summary>
    internal static RestorePoint WithoutHint(RestorePoint point) =>
        point with { Disks = [.. point.Disks.Select(disk => disk with { Hint = null })] };

    internal static List<BlobId> ChunkIds(Repository repository, byte[] content)
    {
        var ids = new List<BlobId>();
        for (var at = 0; at < content.Length; at += 65_536)
        {
            var chunk = content.AsSpan(at, 65_536);
            if (chunk.IndexOfAnyExcept((byte)0) >= 0)
                ids.Add(repository.Context.Keys.ChunkId(chunk));
        }

        return [.. ids.Distinct()];
    }

    /// <summary>A pack, a segment and a point of the hostile host: sealed as they should be, under ids of other bytes.</summary>
    internal static async Task<PackName> ForgeAsync(Repository hostile, IReadOnlyList<BlobId> ids, BlobKind kind)
    {
        var context = hostile.Context;
        OpenPack? written = null;
        var run = RunId.New();
        await using var packs = new PackWriter(
            context, run, kind == BlobKind.Chunk, new RunCounters(),
            pack =>
            {
                written = pack;
                return Task.CompletedTask;
            },
            _ => { }, Fixture.Token);
        var lie = kind == BlobKind.Chunk ? new byte[65_536] : new byte[12 + 32 + 1 + 8];
        lie[0] = 1;
        if (kind == BlobKind.Node)
            (lie[1], lie[2], lie[4], lie[12]) = (1, 16, 1, 9);
        var blob = new byte[BlobSealer.Overhead + lie.Length];
        foreach (var id in ids)
        {
            BlobSealer.Close(context.Keys, kind, in id, BlobCompression.None, lie.Length, lie, blob);
            await packs.AppendAsync(new StoredBlob(), id, lie.Length, kind, BlobCompression.None, blob);
        }

        await packs.FinishAsync();
        var entries = written!.Entries.Select(entry => new IndexEntry(
            entry.Id, 0, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression));
        await PublishAsync(hostile, [new IndexedPack(written.Name!, (uint)written.Length)], [.. entries], run);
        return written.Name!;
    }

    private static async Task<string> PublishAsync(
        Repository hostile, IReadOnlyList<IndexedPack> packs, List<IndexEntry> entries, RunId? id = null)
    {
        var run = id ?? RunId.New();
        var segment = ObjectNames.Segment(run, 0);
        var content = hostile.Context.Close(segment, IndexSegment.Write(packs, entries));
        await hostile.Context.Store.PutIfAbsentAsync(segment, content, Fixture.Token);
        var point = new RestorePoint
        {
            Run = run.ToString(),
            Machine = Hostile.Value,
            Seq = 1,
            Index = [new SegmentReference(segment, Convert.ToHexStringLower(SHA256.HashData(content)))],
        };
        var key = ObjectNames.Point(Hostile, run);
        await hostile.Context.Store.PutIfAbsentAsync(
            key, hostile.Context.Close(key, JsonSerializer.SerializeToUtf8Bytes(point, FormatJson.Default.RestorePoint)), Fixture.Token);
        return segment;
    }
}
