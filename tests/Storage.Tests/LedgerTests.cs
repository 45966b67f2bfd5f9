// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>Nightly verification with a budget: what is longest unchecked goes first, by the ledger under scrub/.</summary>
public sealed class LedgerTests
{
    private static readonly DateTimeOffset Begin = new(2031, 1, 20, 3, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(VerifyLevel.Packs)]
    [InlineData(VerifyLevel.Data)]
    public async Task ThirtyNightsOfFourPercent_CoverEverythingWhileNewPacksArrive(VerifyLevel level)
    {
        var clock = new NightClock(Begin);
        var store = new MemoryStore();
        var options = Fixture.OptionsOf(1) with { Clock = clock };
        using var repository = await Repository.InitAsync(
            store, new InitOptions { Credentials = Credentials.None }, options, Fixture.Token);
        var random = new Random(61);
        for (var i = 0; i < 40; i++)
            await BackUpAsync(repository, clock, random);
        var reads = new Dictionary<string, DateTimeOffset>(StringComparer.Ordinal);
        var last = store.Objects.Keys.Where(IsPack).ToArray();
        for (var night = 0; night < 30; night++)
        {
            clock.Now += TimeSpan.FromDays(1);
            if (night % 3 == 0)
                await BackUpAsync(repository, clock, random);
            store.BeforeRead = key => reads[key] = clock.Now;
            var budget = new VerifyOptions { Level = level, Budget = VerifyBudget.OfPercent(4) };
            var result = await repository.VerifyAsync(budget, null, Fixture.Token);
            store.BeforeRead = null;
            Assert.True(result.IsSound);
            var total = store.Objects.Where(entry => IsPack(entry.Key)).Sum(entry => (long)entry.Value.Length);
            Assert.True(result.Bytes <= total * 4 / 100 + 101_000, $"Night {night} read {result.Bytes} of {total} bytes.");
            Assert.True(result.CheckedPacks > 0);
        }

        Assert.DoesNotContain(last, pack => !reads.ContainsKey(pack));
        var oldest = (await repository.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token)).OldestCheck;
        if (level == VerifyLevel.Packs)
            Assert.InRange(oldest!.Value, clock.Now - TimeSpan.FromDays(31), clock.Now);
        Assert.Equal(30, store.Objects.Keys.Count(key => key.StartsWith("scrub/", StringComparison.Ordinal)));
        Assert.Contains(store.Objects.Keys, key => key.StartsWith("scrub/203101/", StringComparison.Ordinal));
        Assert.Contains(store.Objects.Keys, key => key.StartsWith("scrub/203102/", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ManyRecords_AreFoldedAndSayTheSame()
    {
        var clock = new NightClock(Begin);
        var store = new MemoryStore();
        using var repository = await Repository.InitAsync(
            store, new InitOptions { Credentials = Credentials.None }, Fixture.OptionsOf(1) with { Clock = clock }, Fixture.Token);
        var random = new Random(62);
        for (var i = 0; i < 5; i++)
            await BackUpAsync(repository, clock, random);
        var most = 0;
        for (var night = 0; night < 150; night++)
        {
            clock.Now += TimeSpan.FromDays(1);
            var before = await OldestAsync(repository);
            await repository.VerifyAsync(
                new VerifyOptions { Level = VerifyLevel.Packs, Budget = VerifyBudget.OfBytes(1) }, null, Fixture.Token);
            var after = await OldestAsync(repository);
            Assert.True(after >= before, $"Night {night}: {before} before, {after} after.");
            most = Math.Max(most, store.Objects.Keys.Count(key => key.StartsWith("scrub/", StringComparison.Ordinal)));
        }

        // Ten packs, one a night: the longest unchecked is ten nights old, whatever was folded.
        Assert.Equal(clock.Now - TimeSpan.FromDays(9), await OldestAsync(repository));
        Assert.InRange(most, 60, 66);
    }

    [Fact]
    public async Task DamagedRecord_CostsWorkOnly()
    {
        var clock = new NightClock(Begin);
        var store = new MemoryStore();
        using var repository = await Repository.InitAsync(
            store, new InitOptions { Credentials = Credentials.None }, Fixture.OptionsOf(1) with { Clock = clock }, Fixture.Token);
        await BackUpAsync(repository, clock, new Random(63));
        clock.Now += TimeSpan.FromDays(1);
        await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token);
        Assert.Equal(clock.Now, await OldestAsync(repository));
        var record = store.Objects.Keys.Single(key => key.StartsWith("scrub/", StringComparison.Ordinal));
        DamageTests.Damage(store, record, "flip");
        Assert.Equal(Begin, await OldestAsync(repository));
        Assert.True((await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token)).IsSound);
        Assert.Equal(clock.Now, await OldestAsync(repository));
    }

    [Fact]
    public void Budget_TakesTheLongestUncheckedFirstAndAtLeastOne()
    {
        var packs = Enumerable.Range(0, 6).ToDictionary(
            i => new PackName(new WriterId(1), new RunId(Guid.CreateVersion7(Begin.AddDays(-i))), default, IsData: true).Key, i => 100L);
        var byAge = packs.Keys.Reverse().ToArray();
        Assert.Equal(byAge[..1], ScrubPlan.Choose(packs, pack => pack.Run.Time, VerifyBudget.OfBytes(1)));
        Assert.Equal(byAge[..2], ScrubPlan.Choose(packs, pack => pack.Run.Time, VerifyBudget.OfBytes(101)));
        Assert.Equal(byAge[..3], ScrubPlan.Choose(packs, pack => pack.Run.Time, VerifyBudget.OfPercent(50)));
        Assert.Equal(6, ScrubPlan.Choose(packs, pack => pack.Run.Time, null).Count);
        Assert.Throws<ArgumentOutOfRangeException>(() => VerifyBudget.OfPercent(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => VerifyBudget.OfBytes(-1));
    }

    private static bool IsPack(string key) => key.StartsWith("packs/", StringComparison.Ordinal);

    private static async Task<DateTimeOffset?> OldestAsync(Repository repository) =>
        (await repository.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token)).OldestCheck;

    private static Task<RestorePoint> BackUpAsync(Repository repository, NightClock clock, Random random)
    {
        var content = new byte[100_000];
        random.NextBytes(content);
        var options = new BackupRunOptions { Id = new RunId(Guid.CreateVersion7(clock.Now)) };
        return Fixture.BackUpAsync(repository, content, options: options);
    }

    private sealed class NightClock(DateTimeOffset now) : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = now;

        public override DateTimeOffset GetUtcNow() => Now;
    }
}
