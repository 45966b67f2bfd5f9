// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>The conformance suite over a store that loses one request or answer in five, behind the layer that tries again.</summary>
public sealed class RetryStoreTests : StoreContract
{
    private readonly MemoryStore _store = new() { DeleteBatch = 20 };

    protected override IObjectStore Open() => Layers.Retrying(new FaultStore(_store, new Random(Seed.Choose(5)), 0.2));
}

public sealed class MeterStoreTests : StoreContract
{
    private readonly MemoryStore _store = new() { DeleteBatch = 1000 };

    protected override IObjectStore Open() => new MeterStore(_store, new RequestCounts());
}

public sealed class ThrottleStoreTests : StoreContract
{
    private readonly MemoryStore _store = new() { DeleteBatch = 1000 };

    protected override IObjectStore Open() => new ThrottleStore(_store, new RateLimit(1L << 30, TimeProvider.System));
}

public sealed class CacheStoreTests : StoreContract, IDisposable
{
    private readonly MemoryStore _store = new() { DeleteBatch = 1000 };
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-cache-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    protected override IObjectStore Open() => new CacheStore(_store, new CacheFolder(_folder, CacheFolder.DefaultLimit));
}

/// <summary>What each layer adds.</summary>
public sealed class LayerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-layers-").FullName;

    private static CancellationToken Token => Fixture.Token;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task LostAnswers_NeverMakeTwoWinnersOrNone()
    {
        var seed = Seed.Choose(11);
        for (var round = 0; round < 50; round++)
        {
            var store = new MemoryStore();
            var key = "points/m/" + RunId.New();
            var writers = Enumerable.Range(0, 8).Select(writer => Task.Run(async () =>
            {
                var faults = new FaultStore(store, new Random(seed + round * 8 + writer), 0.6);
                return await Layers.Retrying(faults).PutIfAbsentAsync(key, new[] { (byte)writer }, Token);
            }));
            var won = await Task.WhenAll(writers);
            Assert.True(won.Count(isWinner => isWinner) == 1 && won[store.Objects[key][0]], $"Seed {seed}, round {round}.");
        }
    }

    /// <summary>A batch that stopped in the middle is not done: it is tried again as a whole, or the caller is told.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task BatchThatStoppedInTheMiddle_IsTriedAgainOrFails(bool isTransient)
    {
        var store = new MemoryStore { DeleteBatch = 10 };
        string[] keys = [.. Enumerable.Range(0, 10).Select(number => $"runs/b/{number}")];
        foreach (var key in keys)
            store.Objects[key] = [];
        var failures = 0;
        store.BeforeWrite = (_, key) =>
        {
            if (key == keys[4] && Interlocked.Increment(ref failures) == 1)
                throw new StoreException("The connection broke.", isTransient);
        };
        var deleting = Layers.Retrying(store).DeleteAsync(keys, Token).AsTask();
        if (isTransient)
            await deleting;
        else
            await Assert.ThrowsAsync<StoreException>(() => deleting);
        Assert.Equal(isTransient ? [] : keys[..5], store.Objects.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(isTransient ? 2 : 1, store.Batches.Count);
    }

    [Fact]
    public async Task Backups_AreExactThoughOneRequestInFiveIsLost()
    {
        var seed = Seed.Choose(3);
        var random = new Random(seed);
        var content = Fixture.Content(random, 9 << 20);
        var store = new MemoryStore();
        var faults = new FaultStore(store, random, 0.2);
        using var repository = await Fixture.InitAsync(Layers.Retrying(faults));
        var point = await Fixture.BackUpAsync(repository, content);
        await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
        Assert.True(faults.Failures > 5, $"Only {faults.Failures} failures with seed {seed}.");
        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Token)).IsSound);
    }

    [Fact]
    public async Task WhatWillNotPass_IsNotTriedAgain()
    {
        var faults = new FaultStore(new MemoryStore(), new Random(1), 0)
        {
            Fault = (_, _) => new StoreException("No.", isTransient: false),
        };
        await Assert.ThrowsAsync<StoreException>(() => Layers.Retrying(faults).HeadAsync("config", Token).AsTask());
        Assert.Equal(1, faults.Failures);
    }

    [Fact]
    public async Task StoreThatIsGone_IsGivenUpOnceAndThenAtOnce()
    {
        var isGone = false;
        var faults = new FaultStore(new MemoryStore(), new Random(1), 0)
        {
            Fault = (verb, key) => isGone ? new StoreException($"Could not {verb} '{key}': gone.", isTransient: true) : null,
        };
        var clock = new SteppingClock();
        await using var store = new RetryStore(faults, new RetryPolicy(clock, new Random(1)) { Patience = TimeSpan.FromHours(1) });
        Assert.Null(await store.HeadAsync("config", Token));
        isGone = true;
        var failure = await Assert.ThrowsAsync<StoreException>(() => store.HeadAsync("config", Token).AsTask());
        Assert.InRange(clock.Waited.TotalSeconds, 3595, 3600); // the pause that would pass the hour is not begun
        Assert.Contains($"gone; tried again for {clock.Waited.TotalSeconds:0} s.", failure.Message, StringComparison.Ordinal);
        Assert.InRange(faults.Failures, 3600 / 5, 3600 / 2);
        var before = faults.Failures;
        await Assert.ThrowsAsync<StoreException>(() => store.HeadAsync("config", Token).AsTask());
        Assert.Equal(1, faults.Failures - before);
        isGone = false;
        Assert.Null(await store.HeadAsync("config", Token));
        isGone = true;
        (before, var waited) = (faults.Failures, clock.Waited);
        await Assert.ThrowsAsync<StoreException>(() => store.HeadAsync("config", Token).AsTask());
        Assert.InRange(faults.Failures - before, 3600 / 5, 3600 / 2);
        Assert.InRange((clock.Waited - waited).TotalSeconds, 3595, 3600);
    }

    [Fact]
    public async Task Meter_CountsRequestsAndBytes()
    {
        var counts = new RequestCounts();
        await using var store = new MeterStore(new MemoryStore(), counts);
        await store.PutIfAbsentAsync("a", new byte[10], Token);
        await store.PutIfAbsentAsync("a", new byte[10], Token);
        await using (var upload = await store.StartUploadAsync(Token))
        {
            await upload.WriteAsync(new byte[100], Token);
            await upload.CommitAsync("b", Token);
        }

        await store.ReadAsync("b", 0, new byte[40], Token);
        await store.HeadAsync("b", Token);
        await foreach (var info in store.ListAsync("", Token))
            Assert.NotEqual("", info.Key);
        await store.DeleteAsync("a", Token);
        Assert.Equal(
            (3L, 1L, 1L, 1L, 1L, 120L, 40L),
            (counts.Puts, counts.Gets, counts.Heads, counts.Lists, counts.Deletes, counts.BytesSent, counts.BytesReceived));
    }

    [Fact]
    public async Task Throttle_KeepsToTheRateInBothDirections()
    {
        const int rate = 4 << 20;
        var content = new byte[2 << 20];
        await using var store = new ThrottleStore(new MemoryStore(), new RateLimit(rate, TimeProvider.System));
        var begun = Stopwatch.GetTimestamp();
        await using (var upload = await store.StartUploadAsync(Token))
        {
            await upload.WriteAsync(content, Token);
            await upload.CommitAsync("packs/a", Token);
        }

        await store.ReadAsync("packs/a", 0, content, Token);
        var seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        Assert.True(seconds >= 0.85, $"4 MiB at 4 MiB/s took {seconds:0.00} s.");
    }

    [Fact]
    public async Task Cache_SparesRequestsAndCanVanishOrRotAtAnyTime()
    {
        var random = new Random(Seed.Choose(8));
        var content = Fixture.Content(random, 6 << 20);
        var store = new MemoryStore();
        using (var first = await Fixture.InitAsync(store))
            await Fixture.BackUpAsync(first, content);
        var cold = await ReadThroughCacheAsync(store, content);
        var warm = await ReadThroughCacheAsync(store, content);
        Assert.True(warm < cold, $"{warm} requests with a cache, {cold} without.");
        foreach (var file in Directory.GetFiles(_folder, "*", SearchOption.AllDirectories))
        {
            var bytes = await File.ReadAllBytesAsync(file, Token);
            bytes[random.Next(bytes.Length)] ^= 0x40;
            await File.WriteAllBytesAsync(file, bytes, Token);
        }

        Assert.Equal(cold, await ReadThroughCacheAsync(store, content));
        await using var cached = new CacheStore(store, new CacheFolder(_folder, CacheFolder.DefaultLimit));
        using var repository = await Fixture.OpenAsync(cached);
        Directory.Delete(_folder, recursive: true);
        var point = Assert.Single((await repository.ListPointsAsync(null, Token)).Points);
        await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
    }

    [Fact]
    public async Task CacheThatKeptWrongBytes_IsReadPast()
    {
        var content = Fixture.Content(new Random(4), 3 << 20);
        var store = new MemoryStore();
        using (var first = await Fixture.InitAsync(store))
            await Fixture.BackUpAsync(first, content);
        var right = store.Objects.ToArray();
        foreach (var (key, bytes) in right.Where(entry => entry.Key.Split('/')[0] is "points" or "index" || entry.Key.Contains("/m-")))
            store.Objects[key] = [.. bytes.Select(value => (byte)(value ^ 0x11))];
        await using var cached = new CacheStore(store, new CacheFolder(_folder, CacheFolder.DefaultLimit));
        using (var repository = await Fixture.OpenAsync(cached))
            Assert.Single((await repository.ListPointsAsync(null, Token)).Damaged);
        foreach (var (key, bytes) in right)
            store.Objects[key] = bytes;
        await ReadThroughCacheAsync(store, content);
    }

    [Fact]
    public async Task Verify_SeesTheStoreNotTheCache()
    {
        var content = Fixture.Content(new Random(6), 3 << 20);
        var store = new MemoryStore();
        using (var first = await Fixture.InitAsync(store))
            await Fixture.BackUpAsync(first, content);
        await ReadThroughCacheAsync(store, content);
        var nodes = store.Objects.Keys.Single(key => key.Contains("/m-", StringComparison.Ordinal));
        store.Objects[nodes] = [.. store.Objects[nodes].Select(value => (byte)~value)];
        await using var cached = new CacheStore(store, new CacheFolder(_folder, CacheFolder.DefaultLimit));
        using var repository = await Fixture.OpenAsync(cached);
        var found = await repository.VerifyAsync(VerifyLevel.Data, null, null, Token);
        Assert.Contains(found.Damaged, damage => damage.Key == nodes);
    }

    [Fact]
    public void CacheFolder_StaysBelowItsLimit()
    {
        var folder = new CacheFolder(_folder, 100_000);
        for (var number = 0; number < 50; number++)
            folder.Keep($"name {number}", new byte[10_000]);
        folder.Trim();
        var size = Directory.GetFiles(_folder, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);
        Assert.InRange(size, 50_000, 80_000);
        Assert.Null(folder.TryRead("name none"));
    }

    private async Task<long> ReadThroughCacheAsync(MemoryStore store, byte[] content)
    {
        var counts = new RequestCounts();
        await using var cached = new CacheStore(new MeterStore(store, counts), new CacheFolder(_folder, CacheFolder.DefaultLimit));
        using var repository = await Fixture.OpenAsync(cached);
        var point = Assert.Single((await repository.ListPointsAsync(null, Token)).Points);
        var read = await Fixture.ReadPlannedAsync(repository, point.Disk("vda"));
        Assert.True(content.AsSpan().SequenceEqual(read));
        return counts.Gets;
    }
}

internal static class Layers
{
    /// <summary>The layer that tries again, with pauses short enough for tests.</summary>
    public static RetryStore Retrying(IObjectStore inner) => new(
        inner, new RetryPolicy(TimeProvider.System, new Random(1)) { FirstPause = TimeSpan.FromMilliseconds(0.2) });
}
