// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>What every store must do; one subclass per store.</summary>
public abstract class StoreContract
{
    protected abstract IObjectStore Open();

    private static string Key => "points/m/" + RunId.New();

    [Fact]
    public async Task ThirtyTwoCreators_HaveOneWinner()
    {
        await using var store = Open();
        for (var round = 0; round < 5; round++)
        {
            var key = Key;
            var tries = Enumerable.Range(0, 32).Select(writer => Task.Run(
                async () => (writer, won: await store.PutIfAbsentAsync(key, new[] { (byte)writer }, Fixture.Token)), Fixture.Token));
            var results = await Task.WhenAll(tries);
            var winner = Assert.Single(results, result => result.won);
            var content = new byte[2];
            Assert.Equal(1, await store.ReadAsync(key, 0, content, Fixture.Token));
            Assert.Equal(winner.writer, content[0]);
        }
    }

    [Fact]
    public async Task EmptyObject_ExistsAndIsListed()
    {
        await using var store = Open();
        var key = Key;
        Assert.True(await store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, Fixture.Token));
        Assert.Equal(0, (await store.HeadAsync(key, Fixture.Token))!.Value.Size);
        Assert.Equal(key, Assert.Single(await ListAsync(store, "points/")).Key);
        Assert.Equal(0, await store.ReadAsync(key, 0, new byte[4], Fixture.Token));
    }

    [Fact]
    public async Task Range_IsReadExactlyAndShortAtTheEnd()
    {
        await using var store = Open();
        var key = Key;
        var content = Enumerable.Range(0, 1000).Select(i => (byte)i).ToArray();
        await store.PutIfAbsentAsync(key, content, Fixture.Token);
        var part = new byte[100];
        Assert.Equal(100, await store.ReadAsync(key, 450, part, Fixture.Token));
        Assert.Equal(content[450..550], part);
        Assert.Equal(10, await store.ReadAsync(key, 990, part, Fixture.Token));
        Assert.Equal(0, await store.ReadAsync(key, 5000, part, Fixture.Token));
    }

    [Fact]
    public async Task MissingObject_IsNullOrThrowsThat()
    {
        await using var store = Open();
        Assert.Null(await store.HeadAsync("points/m/none", Fixture.Token));
        var failure = await Assert.ThrowsAsync<ObjectMissingException>(
            () => store.ReadAsync("points/m/none", 0, new byte[1], Fixture.Token).AsTask());
        Assert.Equal("points/m/none", failure.Key);
        await store.DeleteAsync("points/m/none", Fixture.Token);
        Assert.Empty(await ListAsync(store, "points/"));
    }

    [Fact]
    public async Task Upload_IsVisibleOnlyOnceCommittedAndOnlyIfFirst()
    {
        await using var store = Open();
        var key = $"packs/0000000000000001/{RunId.New()}/d-{new string('a', 64)}";
        await using (var dropped = await store.StartUploadAsync(Fixture.Token))
            await dropped.WriteAsync(new byte[100], Fixture.Token);
        await using (var upload = await store.StartUploadAsync(Fixture.Token))
        {
            await upload.WriteAsync(new byte[] { 1, 2 }, Fixture.Token);
            await upload.WriteAsync(new byte[] { 3 }, Fixture.Token);
            Assert.Empty(await ListAsync(store, ""));
            Assert.True(await upload.CommitAsync(key, Fixture.Token));
        }

        Assert.Equal(3, Assert.Single(await ListAsync(store, ""), info => info.Key == key).Size);
        await using var second = await store.StartUploadAsync(Fixture.Token);
        await second.WriteAsync(new byte[] { 9 }, Fixture.Token);
        Assert.False(await second.CommitAsync(key, Fixture.Token));
        var content = new byte[4];
        Assert.Equal(3, await store.ReadAsync(key, 0, content, Fixture.Token));
        Assert.Equal([1, 2, 3, 0], content);
    }

    [Fact]
    public async Task Prefix_ListsWhatIsBelowItOnly()
    {
        await using var store = Open();
        foreach (var key in new[] { "points/a/1", "points/ab/2", "points/a/3", "runs/a/1" })
            await store.PutIfAbsentAsync(key, new byte[1], Fixture.Token);
        var keys = (await ListAsync(store, "points/a/")).Select(info => info.Key).Order(StringComparer.Ordinal);
        Assert.Equal("points/a/1 points/a/3", string.Join(' ', keys));
        await store.DeleteAsync("points/a/1", Fixture.Token);
        Assert.Equal("points/a/3", Assert.Single(await ListAsync(store, "points/a/")).Key);
    }

    [Theory]
    [InlineData("../x")]
    [InlineData("a//b")]
    [InlineData("/a")]
    [InlineData("a/./b")]
    [InlineData("")]
    [InlineData("a b")]
    public async Task WhatIsNoKey_IsRefused(string key)
    {
        await using var store = Open();
        await Assert.ThrowsAsync<ArgumentException>(() => store.PutIfAbsentAsync(key, new byte[1], Fixture.Token).AsTask());
    }

    [Fact]
    public async Task Probe_PassesAndLeavesNothing()
    {
        await using var store = Open();
        await store.ProbeAsync(Fixture.Token);
        Assert.Empty(await ListAsync(store, ""));
    }

    private static async Task<List<ObjectInfo>> ListAsync(IObjectStore store, string prefix)
    {
        var all = new List<ObjectInfo>();
        await foreach (var info in store.ListAsync(prefix, Fixture.Token))
            all.Add(info);
        return all;
    }
}

public sealed class MemoryStoreTests : StoreContract
{
    protected override IObjectStore Open() => new MemoryStore();
}
