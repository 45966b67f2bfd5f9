// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text.Json;

namespace Tidemark.Storage.Tests;

/// <summary>Several copies of one blob, honest and forged (I19).</summary>
public sealed class CollectorCopyTests
{
    [Fact]
    public async Task CopiesOfTwoWriters_BecomeOne()
    {
        var lab = await CollectorLab.CreateAsync();
        await BackUpAtOnceAsync(lab);
        var before = lab.PackBytes;
        var result = await lab.CollectAsync();
        Assert.InRange(result.DeletedBytes, before * 4 / 10, before * 6 / 10);
        Assert.Equal(before - result.DeletedBytes, lab.PackBytes);
        await lab.AssertAllHoldAsync();
    }

    /// <summary>A maintenance key can't tell whether another writer's chunk is right, so it keeps both; nodes it can.</summary>
    [Fact]
    public async Task CopiesOfTwoWriters_StayForWhoCanNotLook()
    {
        var full = Credentials.FromKeyFile(KeyFile.Generate());
        var maintenance = Credentials.FromKeyFile(KeyFile.Generate());
        var store = new MemoryStore();
        using var made = await Repository.InitAsync(
            store, new InitOptions { Credentials = full }, Fixture.OptionsOf(1), Fixture.Token);
        await made.AddKeyAsync(full, new NewKey { Credentials = maintenance, Role = KeyRole.Maintenance }, Fixture.Token);
        using var other = await Repository.OpenAsync(store, full, Fixture.OptionsOf(2), Fixture.Token);
        var content = new byte[14 << 16];
        new Random(3).NextBytes(content);
        await using var left = await made.BeginRunAsync(new MachineId("a"), OptionsOf(1), Fixture.Token);
        await using var right = await other.BeginRunAsync(new MachineId("b"), OptionsOf(2), Fixture.Token);
        await left.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(left, "vda", content)), Fixture.Token);
        await right.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(right, "vda", content)), Fixture.Token);
        using var collector = await Repository.OpenAsync(store, maintenance, Fixture.OptionsOf(3), Fixture.Token);
        await collector.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
        string[] packs = [.. store.Objects.Keys.Where(key => key.StartsWith("packs/", StringComparison.Ordinal))];
        Assert.Equal(2, packs.Count(key => key.Contains("/d-", StringComparison.Ordinal)));
        Assert.Single(packs, key => key.Contains("/m-", StringComparison.Ordinal));
        var again = await collector.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
        Assert.Equal(0, again.EpochsFinished); // it does not try every night
        using var fresh = await Repository.OpenAsync(store, full, Fixture.OptionsOf(1), Fixture.Token);
        foreach (var point in (await fresh.ListPointsAsync(null, Fixture.Token)).Points)
            await Fixture.AssertHoldsAsync(fresh, point.Disk("vda"), content);
    }

    /// <summary>The forger's run is the older one, so that its copies are the ones that would stay.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ForgedCopyOfAnotherWriter_ReplacesNothing(bool isChecked)
    {
        var lab = await CollectorLab.CreateAsync();
        var (honest, forged) = await BackUpAtOnceAsync(lab);
        var key = lab.Store.Objects.Keys.Single(name => name.StartsWith($"packs/{new WriterId(2)}/", StringComparison.Ordinal)
            && name.Contains("/d-", StringComparison.Ordinal));
        await ForgeAsync(lab, forged, key);
        await lab.Repository.RetireAsync(forged.MachineId, forged.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        var rules = CollectorRules.All with { ForeignCopiesChecked = isChecked };
        await lab.CollectAsync(new CollectOptions { MaxDeletePercent = 100, Rules = rules });
        using var fresh = await Fixture.OpenAsync(lab.Store, encrypted: false);
        var left = Assert.Single((await fresh.ListPointsAsync(null, Fixture.Token)).Points);
        if (isChecked)
            await Fixture.AssertHoldsAsync(fresh, left.Disk("vda"), lab.ContentOf(honest));
        else // the rule is what saves it
            await Assert.ThrowsAsync<RepositoryDamagedException>(() => Fixture.ReadAsync(fresh, left.Disk("vda")));
    }

    [Fact]
    public async Task SegmentThatLiesAboutAnothersPack_CountsForNothing()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 600_000, seed: 1);
        var second = await lab.BackUpAsync("a", 600_000, seed: 2);
        var wanted = await SegmentOfAsync(lab, first);
        var other = await SegmentOfAsync(lab, second);

        // A point of a third machine, whose segment says that the second point's packs hold what the first point's do.
        await using var run = await lab.Repository.BeginRunAsync(new MachineId("x"), new BackupRunOptions(), Fixture.Token);
        var key = ObjectNames.Segment(run.Id, 0);
        var lies = Enumerable.Range(0, wanted.Count).Select(i => wanted[i] with { Pack = 0, Offset = 0 }).ToList();
        var content = lab.Repository.Context.Close(key, IndexSegment.Write([other.Packs[0]], lies));
        lab.Store.Objects[key] = content;
        var point = await run.CommitAsync(Fixture.DraftOf(), Fixture.Token);
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(content));
        Rewrite(lab, point with { Index = [new SegmentReference(key, sha256)] });
        var result = await lab.CollectAsync();
        Assert.Equal(0L, result.DeletedBytes);
        await lab.AssertAllHoldAsync();
    }

    /// <summary>Who uses a pack names it; its hostile owner naming more, and nothing of what is there, does not take that away.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task OwnerThatLiesAboutAPackOthersUse_DoesNotHideItFromThem(bool ownerFirst)
    {
        var lab = await CollectorLab.CreateAsync();
        var owner = await lab.BackUpAsync(ownerFirst ? "a" : "z", 600_000, seed: 1);
        var user = await lab.BackUpAsync("m", 600_000, seed: 2);
        var (owned, used) = (await SegmentOfAsync(lab, owner), await SegmentOfAsync(lab, user));
        var pack = owned.Packs.Index().Single(candidate => candidate.Item.Name.IsData);
        var real = EntriesOf(owned).Where(entry => entry.Pack == pack.Index).ToArray();
        var lies = Enumerable.Range(0, 1000).Select(
            number => real[0] with { Id = BlobId.From(SHA256.HashData(BitConverter.GetBytes(number))) });
        Restate(lab, owner, owned.Packs, [.. EntriesOf(owned).Except(real), .. lies]);
        var claimed = real.Select(entry => entry with { Pack = (uint)used.Packs.Count });
        Restate(lab, user, [.. used.Packs, pack.Item], [.. EntriesOf(used), .. claimed]);
        await lab.CollectAsync();
        var listing = await IndexListing.ReadAsync(lab.Repository.Context, forWriting: false, Fixture.Token);
        using var index = new RepositoryIndex(lab.Repository.Context, listing);
        await index.EnsureLoadedAsync(Fixture.Token);
        Assert.All(real, entry => Assert.Equal(pack.Item.Name, index.Find(entry.Id, 0)?.Pack.Name));
    }

    [Fact]
    public async Task AllCopiesCondemned_OneStays()
    {
        var lab = await CollectorLab.CreateAsync();
        await BackUpAtOnceAsync(lab);
        string[] packs = [.. lab.Store.Objects.Keys.Where(key => key.StartsWith("packs/", StringComparison.Ordinal))];
        var key = ObjectNames.Epoch(1, EpochListing.Condemn);
        lab.Store.Objects[key] = lab.Repository.Context.Close(
            key, JsonSerializer.SerializeToUtf8Bytes(new CondemnDocument { Packs = packs }, FormatJson.Default.CondemnDocument));
        var before = lab.PackBytes;
        await lab.CollectAsync();
        Assert.InRange(lab.PackBytes, before * 4 / 10, before * 6 / 10);
        await lab.AssertAllHoldAsync();
    }

    // Two writers that began before either had committed: everything is stored twice.
    private static async Task<(RestorePoint First, RestorePoint Second)> BackUpAtOnceAsync(CollectorLab lab)
    {
        var content = new byte[14 << 16];
        new Random(3).NextBytes(content);
        using var other = await Fixture.OpenAsync(lab.Store, encrypted: false, writer: 2);
        await using var right = await other.BeginRunAsync(new MachineId("b"), OptionsOf(1), Fixture.Token);
        await using var left = await lab.Repository.BeginRunAsync(new MachineId("a"), OptionsOf(2), Fixture.Token);
        var first = await left.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(left, "vda", content)), Fixture.Token);
        var second = await right.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(right, "vda", content)), Fixture.Token);
        lab.Adopt(first, content);
        lab.Adopt(second, content);
        return (first, second);
    }

    private static BackupRunOptions OptionsOf(int order) =>
        new() { Id = RunId.Parse($"0190000000007000800000000000000{order}"), Workers = 1 };

    // A pack of the same entries and places whose chunks are sealed well, with wrong bytes; under its right name, in its segment.
    private static IEnumerable<IndexEntry> EntriesOf(IndexSegment segment) => Enumerable.Range(0, segment.Count).Select(i => segment[i]);

    private static void Restate(CollectorLab lab, RestorePoint point, IReadOnlyList<IndexedPack> packs, List<IndexEntry> entries)
    {
        var key = Assert.Single(point.Index).Key;
        var content = lab.Repository.Context.Close(key, IndexSegment.Write(packs, entries));
        lab.Store.Objects[key] = content;
        Rewrite(lab, point with { Index = [new SegmentReference(key, Convert.ToHexStringLower(SHA256.HashData(content)))] });
    }

    private static async Task ForgeAsync(CollectorLab lab, RestorePoint point, string key)
    {
        var context = lab.Repository.Context;
        var name = PackName.TryParse(key)!;
        var bytes = lab.Store.Objects[key].ToArray();
        var segment = await SegmentOfAsync(lab, point);
        for (var i = 0; i < segment.Count; i++)
        {
            var entry = segment[i];
            if (segment.Packs[(int)entry.Pack].Name != name)
                continue;
            var wrong = new byte[entry.PlainLength];
            var blob = bytes.AsSpan((int)entry.Offset, (int)entry.Length);
            Assert.Equal(BlobCompression.None, entry.Compression);
            BlobSealer.Close(context.Keys, BlobKind.Chunk, entry.Id, BlobCompression.None, wrong.Length, wrong, blob);
        }

        var forged = new PackName(name.Writer, name.Run, BlobId.From(System.Security.Cryptography.SHA256.HashData(bytes)), name.IsData);
        lab.Store.Objects.TryRemove(key, out _);
        lab.Store.Objects[forged.Key] = bytes;
        var packs = segment.Packs.Select(pack => pack.Name == name ? new IndexedPack(forged, pack.Size) : pack).ToArray();
        var entries = Enumerable.Range(0, segment.Count).Select(i => segment[i]).ToList();
        var reference = Assert.Single(point.Index);
        var content = context.Close(reference.Key, IndexSegment.Write(packs, entries));
        lab.Store.Objects[reference.Key] = content;
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(content));
        Rewrite(lab, point with { Index = [new SegmentReference(reference.Key, sha256)] });
    }

    private static async Task<IndexSegment> SegmentOfAsync(CollectorLab lab, RestorePoint point) =>
        await CollectorSegments.ReadAsync(lab.Repository.Context, Assert.Single(point.Index), Fixture.Token);

    private static void Rewrite(CollectorLab lab, RestorePoint point)
    {
        var key = ObjectNames.Point(point.MachineId, point.Id);
        lab.Store.Objects[key] = lab.Repository.Context.Close(
            key, JsonSerializer.SerializeToUtf8Bytes(point, FormatJson.Default.RestorePoint));
    }
}
