// SPDX-License-Identifier: Apache-2.0
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>What a failed run uploaded is used by the writer's next run of that machine, and by nobody else (docs/format.md 10b).</summary>
public sealed class AdoptionTests
{
    private const int Size = 6 << 20;

    public enum Story
    {
        NotEnded,
        AnotherWriter,
        SucceededSince,
    }

    private static CancellationToken Token => Fixture.Token;

    [Fact]
    public async Task FailedRunsPacks_AreNamedByTheNextRunAndNotSentAgain()
    {
        var content = Fixture.Content(new Random(Seed.Choose(21)), Size);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        await FailAsync(store, repository, content);
        await FailAsync(store, repository, content);
        var left = ChunkPacks(store);
        Assert.Single(left); // the second failed run adopted what the first one left
        content[^1] ^= 1;
        using var next = await Fixture.OpenAsync(store);
        var point = await Fixture.BackUpAsync(next, content);
        Assert.Equal(2, ChunkPacks(store).Length); // only the changed chunk is new
        Assert.True(point.Disk("vda").StoredBytes < 100_000, $"{point.Disk("vda").StoredBytes} bytes were stored.");
        await AssertSoundAsync(store, point, content);
        Assert.Contains(left[0], await NamedPacksAsync(next, store));
    }

    [Fact]
    public async Task PackOfManyChunks_IsAdoptedToo()
    {
        var content = new byte[2000 << 16];
        for (var chunk = 0; chunk < 2000; chunk++)
            BitConverter.TryWriteBytes(content.AsSpan(chunk << 16), chunk + 1);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        await FailAsync(store, repository, content);
        var point = await Fixture.BackUpAsync(repository, content);
        Assert.Single(ChunkPacks(store));
        Assert.Equal(0, point.Disk("vda").StoredBytes);
        await AssertSoundAsync(store, point, content);
    }

    [Theory]
    [InlineData(PackHarm.Condemned)]
    [InlineData(PackHarm.Quarantined)]
    [InlineData(PackHarm.Cut)]
    [InlineData(PackHarm.ContentsDamaged)]
    public async Task PackThatMayNotBeUsed_IsStoredAgain(PackHarm harm)
    {
        var content = Fixture.Content(new Random(Seed.Choose(22)), Size);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        await FailAsync(store, repository, content);
        var pack = Assert.Single(ChunkPacks(store));
        store.Harm(repository, pack, harm);

        await AssertStoresAgainAsync(store, writer: 1, content, pack);
    }

    [Theory]
    [InlineData(Story.NotEnded)]
    [InlineData(Story.AnotherWriter)]
    [InlineData(Story.SucceededSince)]
    public async Task PackThatTheLastFailedRunDidNotLeave_IsStoredAgain(Story story)
    {
        var content = Fixture.Content(new Random(Seed.Choose(22)), Size);
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        if (story == Story.NotEnded)
            store.BeforeWrite = (_, key) => FailAt(key, "index/", "points/");
        await FailAsync(store, repository, content);
        var pack = Assert.Single(ChunkPacks(store));
        if (story == Story.SucceededSince)
            await Fixture.BackUpAsync(repository, new byte[Size]);

        await AssertStoresAgainAsync(store, writer: story == Story.AnotherWriter ? 2UL : 1UL, content, pack);
    }

    [Fact]
    public async Task CollectorThatComesLater_WaitsForTheAdoptingRunAndSparesThePack()
    {
        var lab = await CollectorLab.CreateAsync();
        var content = Fixture.Content(new Random(Seed.Choose(23)), Size);
        await FailAsync(lab.Store, lab.Repository, content);
        var pack = Assert.Single(ChunkPacks(lab.Store));
        await using (var run = await lab.Repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Token))
        {
            var disk = await Fixture.WriteAsync(run, "vda", content);
            var waiting = await lab.CollectAsync();
            Assert.Equal(Fixture.Machine.Value, Assert.Single(waiting.WaitingFor).Machine);
            lab.Adopt(await run.CommitAsync(Fixture.DraftOf(disk), Token), content);
        }

        await lab.CollectAsync();
        await lab.CollectAsync();
        Assert.Equal(pack, Assert.Single(ChunkPacks(lab.Store)));
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task PackCondemnedBefore_IsNotAdoptedAndGoes()
    {
        var lab = await CollectorLab.CreateAsync();
        var content = Fixture.Content(new Random(Seed.Choose(24)), Size);
        await FailAsync(lab.Store, lab.Repository, content);
        var pack = Assert.Single(ChunkPacks(lab.Store));
        await using (await lab.Repository.BeginRunAsync(new MachineId("other"), new BackupRunOptions(), Token))
        {
            Assert.Single((await lab.CollectAsync()).WaitingFor);
            var point = await lab.BackUpContentAsync(Fixture.Machine.Value, content, null, null);
            Assert.True(point.Disk("vda").StoredBytes > 1 << 20, $"Only {point.Disk("vda").StoredBytes} bytes were stored.");
        }

        Assert.True((await lab.CollectAsync()).DeletedBytes > 0);
        Assert.DoesNotContain(pack, ChunkPacks(lab.Store));
        await lab.AssertAllHoldAsync();
    }

    private static async Task AssertStoresAgainAsync(MemoryStore store, ulong writer, byte[] content, string pack)
    {
        using var next = await Fixture.OpenAsync(store, writer: writer);
        var point = await Fixture.BackUpAsync(next, content);
        Assert.Equal(2, ChunkPacks(store).Length);
        Assert.True(point.Disk("vda").StoredBytes > 1 << 20, $"Only {point.Disk("vda").StoredBytes} bytes were stored.");
        Assert.DoesNotContain(pack, await NamedPacksAsync(next, store));
        await Fixture.AssertHoldsAsync(next, point.Disk("vda"), content);
    }

    // All packs are there when the first segment can't be written; then the tombstone is put, unless that fails, too.
    private static async Task FailAsync(MemoryStore store, Repository repository, byte[] content)
    {
        store.BeforeWrite ??= (_, key) => FailAt(key, "index/");
        await Assert.ThrowsAsync<StoreException>(() => Fixture.BackUpAsync(repository, content));
        store.BeforeWrite = null;
    }

    private static void FailAt(string key, params string[] prefixes)
    {
        if (prefixes.Any(prefix => key.StartsWith(prefix, StringComparison.Ordinal)))
            throw new StoreException($"Could not create '{key}': the store is gone.", isTransient: true);
    }

    private static string[] ChunkPacks(MemoryStore store) =>
        [.. store.Objects.Keys.Where(key => PackName.TryParse(key) is { IsData: true })];

    private static async Task<string[]> NamedPacksAsync(Repository repository, MemoryStore store)
    {
        var listing = await IndexListing.ReadAsync(repository.Context, forWriting: false, Token);
        return [.. listing.Segments.SelectMany(key =>
            IndexSegment.Read(key, repository.Context.Open(key, store.Objects[key])).Packs.Select(pack => pack.Name.Key))];
    }

    private static async Task AssertSoundAsync(MemoryStore store, RestorePoint point, byte[] content)
    {
        using var afresh = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(afresh, point.Disk("vda"), content);
        Assert.True((await afresh.VerifyAsync(VerifyLevel.Data, null, null, Token)).IsSound);
    }
}
