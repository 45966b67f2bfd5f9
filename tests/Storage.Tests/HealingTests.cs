// SPDX-License-Identifier: Apache-2.0
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>
/// Every pack damaged in turn: verify names it and the points it hurts, backups of machines that still have the bytes make all points
/// whole (docs/format.md section 9, healing).
/// </summary>
public sealed class HealingTests
{
    private static readonly MachineId Second = new("second");

    [Theory]
    [InlineData("flip", VerifyLevel.Packs)]
    [InlineData("flip", VerifyLevel.Data)]
    [InlineData("truncate", VerifyLevel.Quick)]
    [InlineData("truncate", VerifyLevel.Data)]
    [InlineData("delete", VerifyLevel.Quick)]
    [InlineData("delete", VerifyLevel.Packs)]
    [InlineData("delete", VerifyLevel.Data)]
    public async Task EveryPackDamagedInTurn_IsNamedAndHealedByTheNextBackups(string how, VerifyLevel level)
    {
        var seed = Seed.Choose(21);
        var made = await MakeAsync(seed);
        var packs = made.Store.Objects.Keys.Where(key => key.StartsWith("packs/", StringComparison.Ordinal)).ToArray();
        Assert.True(packs.Length >= 6, $"{packs.Length} packs, seed {seed}.");
        foreach (var pack in packs)
        {
            var store = new MemoryStore(made.Store.Objects);
            DamageTests.Damage(store, pack, how);
            var damaged = await VerifyAsync(store, level, quarantine: true);
            Assert.Equal(pack, Assert.Single(damaged.Damaged).Key);
            Assert.Equal(await UnreadableAsync(store, made.Points), [.. damaged.Damaged[0].Affected.Select(point => point.Id)]);
            Assert.NotEmpty(damaged.Damaged[0].Affected);
            Assert.Equal([pack], damaged.Quarantined);
            await HealAsync(store, made);
            foreach (var again in Enum.GetValues<VerifyLevel>())
            {
                var healed = await VerifyAsync(store, again, quarantine: true);
                Assert.True(healed.IsSound, $"{how} {pack}, {again}, seed {seed}: {string.Join(' ', healed.Damaged)}");
                Assert.Equal([pack], healed.Healed);
                Assert.Empty(healed.Quarantined);
            }

            await AssertAllAsync(store, made);
        }
    }

    [Fact]
    public async Task BytesThatChangedSince_StayHurtAndTheOthersHeal()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(31), 3 << 20);
        content.AsSpan(0, 1 << 17).Fill(7);
        new Random(32).NextBytes(content.AsSpan(1 << 16, 1 << 17));
        var first = await Fixture.BackUpAsync(repository, content);
        var pack = store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal));
        DamageTests.Damage(store, pack, "delete");
        Assert.Equal(first.Id, Assert.Single((await VerifyAsync(store, VerifyLevel.Quick, true)).Damaged[0].Affected).Id);
        var changed = content.ToArray();
        new Random(33).NextBytes(changed.AsSpan(1 << 16, 1 << 16));
        var second = await HealOneAsync(store, Fixture.Machine, changed, first, [1]);
        var after = await VerifyAsync(store, VerifyLevel.Data, true);
        Assert.Equal(first.Id, Assert.Single(Assert.Single(after.Damaged).Affected).Id);
        Assert.Equal(pack, after.Damaged[0].Key);
        using var later = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(later, second.Disk("vda"), changed);
        await Assert.ThrowsAsync<RepositoryDamagedException>(() => Fixture.ReadAsync(later, first.Disk("vda")));

        // The old bytes come back, on any machine: now it is whole.
        await HealOneAsync(store, Second, content, null, null);
        Assert.True((await VerifyAsync(store, VerifyLevel.Data, true)).IsSound);
        using var healed = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(healed, first.Disk("vda"), content);
    }

    [Fact]
    public async Task UnreadableNodeNotWrittenAnew_FailsTheRun() // I21
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(34), 6 << 20);
        var point = await Fixture.BackUpAsync(repository, content);
        DamageTests.Damage(store, store.Objects.Keys.Single(key => key.Contains("/m-", StringComparison.Ordinal)), "delete");
        await VerifyAsync(store, VerifyLevel.Quick, true);
        using var later = await Fixture.OpenAsync(store);
        var failure = await Assert.ThrowsAsync<RepositoryDamagedException>(() => Fixture.BackUpAsync(later, content, point, [3]));
        Assert.Contains("/m-", failure.DamagedObject, StringComparison.Ordinal);
        Assert.Single((await later.ListPointsAsync(null, Fixture.Token)).Points);
    }

    [Fact]
    public async Task LostAttachment_IsStoredAgain()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var nvram = Fixture.Content(new Random(35), 200_000);
        RestorePoint? point = null;
        foreach (var kind in new[] { "/d-", "/m-" })
        {
            point = await WithFileAsync(store, nvram, point);
            var pack = store.Objects.Keys.Where(key => key.Contains($"{point.Id}/{kind[1..]}", StringComparison.Ordinal)).ToArray();
            if (pack.Length == 0)
                pack = [.. store.Objects.Keys.Where(key => key.Contains(kind, StringComparison.Ordinal))];
            DamageTests.Damage(store, pack[0], "flip");
            Assert.False((await VerifyAsync(store, VerifyLevel.Packs, true)).IsSound);
            point = await WithFileAsync(store, nvram, point);
            Assert.True((await VerifyAsync(store, VerifyLevel.Data, true)).IsSound);
            using var later = await Fixture.OpenAsync(store);
            Assert.Equal(nvram, await later.ReadFileAsync(Assert.Single(point.Files), Fixture.Token));
        }
    }

    [Fact]
    public async Task StoreThatFails_QuarantinesNothing() // I20
    {
        var made = await MakeAsync(5);
        foreach (var isTransient in new[] { true, false })
        {
            var store = new MemoryStore(made.Store.Objects);
            var bad = store.Objects.Keys.First(key => key.Contains("/d-", StringComparison.Ordinal));
            store.BeforeRead = key =>
            {
                if (key == bad)
                    throw new StoreException("Input/output error.", isTransient);
            };
            if (isTransient)
            {
                await Assert.ThrowsAsync<StoreException>(() => VerifyAsync(store, VerifyLevel.Packs, true));
            }
            else
            {
                var result = await VerifyAsync(store, VerifyLevel.Packs, true);
                Assert.Equal(bad, Assert.Single(result.Unread).Key);
                Assert.Empty(result.Damaged);
                Assert.False(result.IsSound);
            }

            Assert.DoesNotContain(store.Objects.Keys, key => key.StartsWith("bad/", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task StoreThatShowsNothingAnyMore_QuarantinesNothing() // I20
    {
        var made = await MakeAsync(5);
        using var repository = await Fixture.OpenAsync(made.Store);
        var store = made.Store;
        store.AfterList = prefix =>
        {
            foreach (var key in prefix == "points/" ? store.Objects.Keys.ToArray() : [])
            {
                if (!key.StartsWith("points/", StringComparison.Ordinal) && !key.StartsWith("index/", StringComparison.Ordinal))
                    store.Objects.TryRemove(key, out _);
            }
        };
        await Assert.ThrowsAsync<StoreException>(
            () => repository.VerifyAsync(new VerifyOptions { Level = VerifyLevel.Quick, Quarantine = true }, null, Fixture.Token));
        Assert.DoesNotContain(store.Objects.Keys, key => key.StartsWith("bad/", StringComparison.Ordinal));
    }

    [Fact]
    public async Task MoreDamageLater_AddsARecord()
    {
        var made = await MakeAsync(6);
        var store = made.Store;
        var (pack, whole) = store.Objects.Where(entry => entry.Key.Contains("/d-", StringComparison.Ordinal))
            .MaxBy(entry => entry.Value.Length);
        Flip(store, pack, 100);
        await VerifyAsync(store, VerifyLevel.Packs, true);
        Flip(store, pack, whole.Length * 2 / 3);
        Assert.Equal([pack], (await VerifyAsync(store, VerifyLevel.Packs, true)).Quarantined);
        Assert.Equal(2, store.Objects.Keys.Count(key => key.StartsWith("bad/", StringComparison.Ordinal)));
        Assert.Empty((await VerifyAsync(store, VerifyLevel.Packs, true)).Quarantined);
        await HealAsync(store, made);
        Assert.True((await VerifyAsync(store, VerifyLevel.Data, true)).IsSound);
        await AssertAllAsync(store, made);
    }

    [Fact]
    public async Task SoundRepository_PaysNothingForHealing()
    {
        var made = await MakeAsync(7);
        var reads = 0;
        made.Store.BeforeRead = key => reads +=
            key.StartsWith("packs/", StringComparison.Ordinal) || key.StartsWith("index/", StringComparison.Ordinal) ? 1 : 0;
        using var repository = await Fixture.OpenAsync(made.Store);
        var last = made.Points[1];
        await Fixture.BackUpAsync(repository, last.Content, last.Point, []);
        Assert.Equal(2, reads); // the root and the leaf at the disk's end, as ever
    }

    private static void Flip(MemoryStore store, string key, int at)
    {
        var content = store.Objects[key].ToArray();
        content[at] ^= 1;
        store.Objects[key] = content;
    }

    private static async Task<VerifyResult> VerifyAsync(MemoryStore store, VerifyLevel level, bool quarantine)
    {
        using var repository = await Fixture.OpenAsync(store);
        return await repository.VerifyAsync(new VerifyOptions { Level = level, Quarantine = quarantine }, null, Fixture.Token);
    }

    // Two machines; the second one keeps the first content of the first, which goes on to another.
    private static async Task<Made> MakeAsync(int seed)
    {
        var random = new Random(seed);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = Fixture.Content(random, 9 << 20);
        random.NextBytes(content.AsSpan(1 << 20, 200_000));
        var changed = content.ToArray();
        random.NextBytes(changed.AsSpan(5 << 16, 3 << 16));
        random.NextBytes(changed.AsSpan(130 << 16, 1 << 16));
        var first = await Fixture.BackUpAsync(repository, content);
        var second = await Fixture.BackUpAsync(repository, changed, first, [5, 6, 7, 130]);
        var third = await BackUpAsync(repository, Second, content, null, null);
        random.NextBytes(changed.AsSpan(20 << 16, 1 << 16));
        var fourth = await Fixture.BackUpAsync(repository, changed, second, [20]);
        var kept = new MachineId("third");
        var before = changed.ToArray();
        content.AsSpan(20 << 16, 1 << 16).CopyTo(before.AsSpan(20 << 16));
        var fifth = await BackUpAsync(repository, kept, before, null, null);
        return new Made(store, [(first, content), (fourth, changed), (second, before), (third, content), (fifth, before)]);
    }

    // The three machines are backed up again; nothing changed on them.
    private static async Task HealAsync(MemoryStore store, Made made)
    {
        var (fourth, third, fifth) = (made.Points[1], made.Points[3], made.Points[4]);
        var points = new[]
        {
            await HealOneAsync(store, Fixture.Machine, fourth.Content, fourth.Point, []),
            await HealOneAsync(store, Second, third.Content, third.Point, []),
            await HealOneAsync(store, new MachineId("third"), fifth.Content, fifth.Point, []),
        };
        Assert.Equal(
            new[] { fourth, third, fifth }.Select(old => old.Point.Disk("vda").Root), points.Select(point => point.Disk("vda").Root));
    }

    private static async Task<RestorePoint> HealOneAsync(
        MemoryStore store, MachineId machine, byte[] content, RestorePoint? origin, IEnumerable<long>? changed)
    {
        using var repository = await Fixture.OpenAsync(store);
        return await BackUpAsync(repository, machine, content, origin, changed);
    }

    // As the engine does it: what changed, and what the disk's writer says is hurt.
    private static async Task<RestorePoint> BackUpAsync(
        Repository repository, MachineId machine, byte[] content, RestorePoint? origin, IEnumerable<long>? changed)
    {
        var options = new BackupRunOptions { Bases = origin is null ? [] : [origin] };
        await using var run = await repository.BeginRunAsync(machine, options, Fixture.Token);
        var disk = run.OpenDisk("vda", content.Length, 16, origin?.Disk("vda").Tree);
        var hurt = await disk.FindHurtAsync(Fixture.Token);
        IEnumerable<long> all = Enumerable.Range(0, (int)disk.ChunkCount).Select(chunk => (long)chunk);
        var wanted = changed is null ? all : all.Where(chunk =>
            changed.Contains(chunk) || hurt.Any(range => range.Offset <= chunk << 16 && chunk << 16 < range.End));
        foreach (var chunk in wanted)
            await Fixture.WriteChunkAsync(disk, content, chunk);
        var result = await disk.FinishAsync(Fixture.Token);
        return await run.CommitAsync(Fixture.DraftOf(result), Fixture.Token);
    }

    private static async Task<RestorePoint> WithFileAsync(MemoryStore store, byte[] file, RestorePoint? origin)
    {
        using var repository = await Fixture.OpenAsync(store);
        var options = new BackupRunOptions { Bases = origin is null ? [] : [origin] };
        await using var run = await repository.BeginRunAsync(Fixture.Machine, options, Fixture.Token);
        var stored = await run.StoreFileAsync("nvram", file, Fixture.Token);
        return await run.CommitAsync(Fixture.DraftOf() with { Files = [stored] }, Fixture.Token);
    }

    private static async Task<List<RunId>> UnreadableAsync(
        MemoryStore store, IReadOnlyList<(RestorePoint Point, byte[] Content)> points)
    {
        using var repository = await Fixture.OpenAsync(store);
        var listed = (await repository.ListPointsAsync(null, Fixture.Token)).Points;
        var unreadable = new List<RunId>();
        foreach (var point in listed)
        {
            try
            {
                await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), points.Single(made => made.Point.Id == point.Id).Content);
            }
            catch (RepositoryDamagedException)
            {
                unreadable.Add(point.Id);
            }
        }

        return unreadable;
    }

    private static async Task AssertAllAsync(MemoryStore store, Made made)
    {
        using var repository = await Fixture.OpenAsync(store);
        foreach (var (point, content) in made.Points)
            await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
    }

    private sealed record Made(MemoryStore Store, IReadOnlyList<(RestorePoint Point, byte[] Content)> Points);
}
