// SPDX-License-Identifier: Apache-2.0
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>Points brought into a second repository: of another key, or a twin (docs/format.md section 9, copy).</summary>
public sealed class CopyTests
{
    private static readonly MachineId Second = new("second");

    [Theory]
    [InlineData("other key")]
    [InlineData("no encryption")]
    [InlineData("twin")]
    public async Task EveryPoint_IsExactInTheTargetAndKeepsItsPlace(string kind)
    {
        var seed = Seed.Choose(81);
        var made = await MakeAsync(seed);
        using var source = await Fixture.OpenAsync(made.Store);
        var targetStore = new MemoryStore();
        using var target = await TargetAsync(source, targetStore, kind);
        var results = await CopyAllAsync(source, target);
        Assert.Equal(made.Points.Count, results.Count);
        var there = (await target.ListPointsAsync(null, Fixture.Token)).Points;
        foreach (var (point, content) in made.Points)
        {
            var copy = there.Single(other => other.Copied!.Run == point.Run);
            Assert.Equal(source.Id.ToString("N"), copy.Copied!.Repository);
            Assert.Equal((point.Seq, point.Time, point.Name), (copy.Seq, copy.Time, copy.Name));
            Assert.Null(copy.Disk("vda").Checkpoint);
            Assert.Null(copy.Disk("vda").Base);
            Assert.Null(copy.Disk("vda").Identity);
            Assert.Equal(kind == "twin", copy.Disk("vda").Root == point.Disk("vda").Root);
            await Fixture.AssertHoldsAsync(target, copy.Disk("vda"), content);
            Assert.Equal(point.Files.Count, copy.Files.Count);
            foreach (var file in copy.Files)
                Assert.Equal("nvram"u8.ToArray(), await target.ReadFileAsync(file, Fixture.Token));
        }

        foreach (var level in Enum.GetValues<VerifyLevel>())
            Assert.True((await target.VerifyAsync(level, null, null, Fixture.Token)).IsSound, $"{level}, seed {seed}");
        Assert.Empty(await CopyAllAsync(source, target));
        Assert.Equal(5, made.Store.Objects.Keys.Count(key => key.EndsWith(".end", StringComparison.Ordinal)));

        // Hints hold in the target: a disk is read without any index.
        using var fresh = await ReopenAsync(targetStore, kind, source);
        targetStore.BeforeRead = key => Assert.False(key.StartsWith("index/", StringComparison.Ordinal), key);
        foreach (var point in there)
            await Fixture.ReadAsync(fresh, point.Disk("vda"));
    }

    [Fact]
    public async Task SecondPoint_ReadsAndSendsOnlyWhatChanged()
    {
        var made = await MakeAsync(82);
        using var source = await Fixture.OpenAsync(made.Store);
        using var target = await TargetAsync(source, new MemoryStore(), "other key");
        var results = await CopyAllAsync(source, target);
        var second = results.Single(result => result.Point.Copied!.Run == made.Points[1].Point.Run);
        Assert.Equal(3 << 16, second.ReadBytes);
        Assert.InRange(second.Point.NewBytes, 3 << 16, (3 << 16) + 20_000);
        var unchanged = await Fixture.BackUpAsync(source, made.Points[3].Content, made.Points[3].Point, []);
        var last = Assert.Single(await CopyAllAsync(source, target));
        Assert.Equal((unchanged.Run, 0, 0L), (last.Point.Copied!.Run, last.Packs, last.ReadBytes));
        Assert.Equal(0, last.Point.NewBytes);
    }

    [Fact]
    public async Task Twin_TakesWholePacksAndReadsNoChunkItKnows()
    {
        var made = await MakeAsync(83);
        using var source = await Fixture.OpenAsync(made.Store);
        var store = new MemoryStore();
        using var target = await TargetAsync(source, store, "twin");
        var reads = new List<string>();
        made.Store.BeforeRead = key =>
        {
            lock (reads)
                reads.Add(key);
        };
        var results = await CopyAllAsync(source, target);
        Assert.True(results[0].Packs > 0);
        Assert.Equal(0, results[0].ReadBytes);
        var packs = made.Store.Objects.Where(entry => entry.Key.Contains("/d-", StringComparison.Ordinal) && entry.Value.Length > 900)
            .Select(entry => entry.Key).ToArray(); // in smaller ones the contents weigh more than the chunks
        Assert.True(packs.Length >= 3);
        Assert.Equal(packs.Length, results.Sum(result => result.Packs));
        Assert.All(packs, pack => Assert.Single(reads, key => key == pack));
        Assert.Subset(
            store.Objects.Keys.Where(key => key.Contains("/d-", StringComparison.Ordinal)).Select(key => key[^64..]).ToHashSet(),
            packs.Select(key => key[^64..]).ToHashSet());
    }

    [Fact]
    public async Task InterruptedAtEveryWrite_GoesOnAndEndsExact()
    {
        var made = await MakeAsync(84);
        foreach (var kind in new[] { "other key", "twin" })
        {
            var store = new MemoryStore();
            using var source = await Fixture.OpenAsync(made.Store);
            using var target = await TargetAsync(source, store, kind);
            var interruptions = 0;
            for (var after = 1; ; after++)
            {
                var left = after;
                store.BeforeWrite = (_, _) =>
                {
                    if (--left <= 0) // and stays dead
                        throw new StoreException("The line went dead.", isTransient: false);
                };
                try
                {
                    await CopyAllAsync(source, target);
                    if (left > 0)
                        break;
                }
                catch (Exception failure) when (failure is StoreException or CommitUnknownException)
                {
                    interruptions++;
                }
            }

            store.BeforeWrite = null;
            Assert.True(interruptions > 4);
            var there = (await target.ListPointsAsync(null, Fixture.Token)).Points;
            Assert.Equal(made.Points.Select(one => one.Point.Run).Order(), there.Select(point => point.Copied!.Run).Order());
            foreach (var (point, content) in made.Points)
                await Fixture.AssertHoldsAsync(target, there.Single(other => other.Copied!.Run == point.Run).Disk("vda"), content);
        }
    }

    [Fact]
    public async Task ForgedChunkOfAnotherWriter_IsNotTakenOver() // I10
    {
        var store = new MemoryStore();
        using var hostile = await Fixture.InitAsync(store, writer: 2);
        var content = Fixture.Content(new Random(85), 2 << 20);
        await Fixture.BackUpAsync(hostile, content);
        var honestPack = PackName.TryParse(store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal)))!;
        var forged = await HostileTests.ForgeAsync(hostile, HostileTests.ChunkIds(hostile, content), BlobKind.Chunk);
        using var source = await Fixture.OpenAsync(store, writer: 1);
        var targetStore = new MemoryStore();
        using var target = await TargetAsync(source, targetStore, "twin");
        await using var run = await target.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
        var packs = new PackCopier(source.Context, run);
        Assert.False(await packs.TryCopyAsync(forged, Fixture.Token));
        Assert.DoesNotContain(targetStore.Objects.Keys, key => key.StartsWith("packs/", StringComparison.Ordinal));
        Assert.True(await packs.TryCopyAsync(honestPack, Fixture.Token));
        DamageTests.Damage(store, honestPack.Key, "flip");
        Assert.False(await packs.TryCopyAsync(honestPack, Fixture.Token));
    }

    [Fact]
    public async Task DamagedPointInTheSource_IsRefusedAndTheOthersGo()
    {
        var made = await MakeAsync(86);
        var (bad, _) = made.Points[1];
        DamageTests.Damage(
            made.Store, made.Store.Objects.Keys.Single(key => key.Contains($"{bad.Id}/d-", StringComparison.Ordinal)), "delete");
        using var source = await Fixture.OpenAsync(made.Store);
        using var target = await TargetAsync(source, new MemoryStore(), "other key");
        var here = (await source.ListPointsAsync(null, Fixture.Token)).Points;
        await source.CopyToAsync(target, source.PlanCopy(made.Points[0].Point, here, []), null, Fixture.Token);
        var there = (await target.ListPointsAsync(null, Fixture.Token)).Points;
        await Assert.ThrowsAsync<RepositoryDamagedException>(
            () => source.CopyToAsync(target, source.PlanCopy(bad, here, there), null, Fixture.Token));
        Assert.Single((await target.ListPointsAsync(null, Fixture.Token)).Points);
    }

    [Fact]
    public async Task LossInTheTarget_IsHealedByTheNextCopy()
    {
        var made = await MakeAsync(87);
        using var source = await Fixture.OpenAsync(made.Store);
        var store = new MemoryStore();
        using var target = await TargetAsync(source, store, "other key");
        var here = (await source.ListPointsAsync(null, Fixture.Token)).Points;
        var first = (await source.CopyToAsync(target, source.PlanCopy(made.Points[0].Point, here, []), null, Fixture.Token)).Point;
        DamageTests.Damage(store, store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal)), "flip");
        var damage = await target.VerifyAsync(new VerifyOptions { Level = VerifyLevel.Packs, Quarantine = true }, null, Fixture.Token);
        Assert.False(damage.IsSound);
        var unchanged = await Fixture.BackUpAsync(source, made.Points[0].Content, made.Points[0].Point, []);
        await source.CopyToAsync(target, source.PlanCopy(unchanged, [.. here, unchanged], [first]), null, Fixture.Token);
        Assert.True((await target.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        await Fixture.AssertHoldsAsync(target, first.Disk("vda"), made.Points[0].Content);
    }

    [Fact]
    public async Task ReverseOrder_IsExactToo()
    {
        var made = await MakeAsync(88);
        using var source = await Fixture.OpenAsync(made.Store);
        using var target = await TargetAsync(source, new MemoryStore(), "other key");
        var here = (await source.ListPointsAsync(null, Fixture.Token)).Points;
        var there = new List<RestorePoint>();
        foreach (var (point, content) in made.Points.Reverse())
        {
            there.Add((await source.CopyToAsync(target, source.PlanCopy(point, here, there), null, Fixture.Token)).Point);
            await Fixture.AssertHoldsAsync(target, there[^1].Disk("vda"), content);
        }
    }

    private static async Task<List<CopyResult>> CopyAllAsync(Repository source, Repository target)
    {
        var here = (await source.ListPointsAsync(null, Fixture.Token)).Points;
        var there = (await target.ListPointsAsync(null, Fixture.Token)).Points.ToList();
        var results = new List<CopyResult>();
        foreach (var point in source.MissingIn(here, there))
        {
            results.Add(await source.CopyToAsync(target, source.PlanCopy(point, here, there), null, Fixture.Token));
            there.Add(results[^1].Point);
        }

        return results;
    }

    private static async Task<Repository> TargetAsync(Repository source, MemoryStore store, string kind)
    {
        var credentials = await CredentialsAsync(source, kind);
        return await Repository.InitAsync(store, new InitOptions { Credentials = credentials }, Fixture.OptionsOf(1), Fixture.Token);
    }

    private static async Task<Repository> ReopenAsync(MemoryStore store, string kind, Repository source) =>
        await Repository.OpenAsync(store, await CredentialsAsync(source, kind), Fixture.OptionsOf(1), Fixture.Token);

    private static async Task<Credentials> CredentialsAsync(Repository source, string kind) => kind switch
    {
        "no encryption" => Credentials.None,
        "twin" => Credentials.FromKeyFile(await source.ExportAsync(Fixture.Key, Fixture.Token)),
        _ => Credentials.FromKeyFile("tidemark-key-1 " + new string('7', 64)),
    };

    // Two machines; the first grows, gets holes and shrinks again.
    private static async Task<Made> MakeAsync(int seed)
    {
        var random = new Random(seed);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var points = new List<(RestorePoint Point, byte[] Content)>();
        var content = Fixture.Content(random, 3 << 20);
        points.Add((await Fixture.BackUpAsync(repository, content), content));
        content = content.ToArray();
        random.NextBytes(content.AsSpan(5 << 16, 3 << 16));
        points.Add((await Fixture.BackUpAsync(repository, content, points[^1].Point, [5, 6, 7]), content));
        var grown = new byte[(5 << 20) + 777];
        content.CopyTo(grown, 0);
        random.NextBytes(grown.AsSpan(5 << 20));
        grown.AsSpan(8 << 16, 6 << 16).Clear();
        points.Add((await Fixture.BackUpAsync(repository, grown, points[^1].Point), grown));
        var shrunk = grown[..((2 << 20) + 33)];
        points.Add((await Fixture.BackUpAsync(repository, shrunk, points[^1].Point), shrunk));
        await using var run = await repository.BeginRunAsync(Second, new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", content);
        var file = await run.StoreFileAsync("nvram", "nvram"u8.ToArray(), Fixture.Token);
        points.Add((await run.CommitAsync(Fixture.DraftOf(disk) with { Files = [file] }, Fixture.Token), content));
        return new Made(store, points);
    }

    private sealed record Made(MemoryStore Store, IReadOnlyList<(RestorePoint Point, byte[] Content)> Points);
}
