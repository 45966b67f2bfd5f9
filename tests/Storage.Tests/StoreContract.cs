// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>What every store must do; one subclass per store.</summary>
public abstract class StoreContract
{
    /// <summary>The same store at every call of one test, empty when the test begins.</summary>
    protected abstract IObjectStore Open();

    /// <summary>Keys of the long listing: more than a page of S3.</summary>
    protected virtual int ManyKeys => 1203;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static string Key => "points/m/" + RunId.New();

    [Fact]
    public async Task ThirtyTwoCreators_HaveOneWinner()
    {
        await using var store = Open();
        for (var round = 0; round < 5; round++)
        {
            var key = Key;
            var tries = Enumerable.Range(0, 32).Select(writer => Task.Run(
                async () => (writer, won: await store.PutIfAbsentAsync(key, new[] { (byte)writer }, Token)), Token));
            var results = await Task.WhenAll(tries);
            var winner = Assert.Single(results, result => result.won);
            var content = new byte[2];
            Assert.Equal(1, await store.ReadAsync(key, 0, content, Token));
            Assert.Equal(winner.writer, content[0]);
        }
    }

    [Fact]
    public async Task EmptyObject_ExistsAndIsListed()
    {
        await using var store = Open();
        var key = Key;
        Assert.True(await store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, Token));
        Assert.Equal(0, (await store.HeadAsync(key, Token))!.Value.Size);
        Assert.Equal(key, Assert.Single(await ListAsync(store, "points/")).Key);
        Assert.Equal(0, await store.ReadAsync(key, 0, new byte[4], Token));
    }

    [Fact]
    public async Task Range_IsReadExactlyAndShortAtTheEnd()
    {
        await using var store = Open();
        var key = Key;
        var content = Enumerable.Range(0, 1000).Select(i => (byte)i).ToArray();
        await store.PutIfAbsentAsync(key, content, Token);
        var part = new byte[100];
        Assert.Equal(100, await store.ReadAsync(key, 450, part, Token));
        Assert.Equal(content[450..550], part);
        Assert.Equal(10, await store.ReadAsync(key, 990, part, Token));
        Assert.Equal(0, await store.ReadAsync(key, 5000, part, Token));
    }

    [Fact]
    public async Task MissingObject_IsNullOrThrowsThat()
    {
        await using var store = Open();
        Assert.Null(await store.HeadAsync("points/m/none", Token));
        var failure = await Assert.ThrowsAsync<ObjectMissingException>(
            () => store.ReadAsync("points/m/none", 0, new byte[1], Token).AsTask());
        Assert.Equal("points/m/none", failure.Key);
        await store.DeleteAsync("points/m/none", Token);
        Assert.Empty(await ListAsync(store, "points/"));
    }

    [Fact]
    public async Task Upload_IsVisibleOnlyOnceCommittedAndOnlyIfFirst()
    {
        await using var store = Open();
        var key = Key;
        await using (var dropped = await store.StartUploadAsync(Token))
            await dropped.WriteAsync(new byte[100], Token);
        await using (var upload = await store.StartUploadAsync(Token))
        {
            await upload.WriteAsync(new byte[] { 1, 2 }, Token);
            await upload.WriteAsync(new byte[] { 3 }, Token);
            Assert.Empty(await ListAsync(store, ""));
            Assert.True(await upload.CommitAsync(key, Token));
        }

        Assert.Equal(3, Assert.Single(await ListAsync(store, ""), info => info.Key == key).Size);
        await using var second = await store.StartUploadAsync(Token);
        await second.WriteAsync(new byte[] { 9 }, Token);
        Assert.False(await second.CommitAsync(key, Token));
        var content = new byte[4];
        Assert.Equal(3, await store.ReadAsync(key, 0, content, Token));
        Assert.Equal([1, 2, 3, 0], content);
    }

    [Fact]
    public async Task Prefix_ListsWhatIsBelowItOnly()
    {
        await using var store = Open();
        foreach (var key in new[] { "points/a/1", "points/ab/2", "points/a/3", "runs/a/1" })
            await store.PutIfAbsentAsync(key, new byte[1], Token);
        var keys = (await ListAsync(store, "points/a/")).Select(info => info.Key).Order(StringComparer.Ordinal);
        Assert.Equal("points/a/1 points/a/3", string.Join(' ', keys));
        await store.DeleteAsync("points/a/1", Token);
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
        await Assert.ThrowsAsync<ArgumentException>(() => store.PutIfAbsentAsync(key, new byte[1], Token).AsTask());
    }

    [Fact]
    public async Task Probe_PassesAndLeavesNothing()
    {
        await using var store = Open();
        await store.ProbeAsync(Token);
        Assert.Empty(await ListAsync(store, ""));
    }

    [Fact]
    public async Task ManyKeys_AreListedOnceEachBelowEveryPrefix()
    {
        await using var store = Open();
        var keys = Enumerable.Range(0, ManyKeys).Select(number => $"index/{number % 7}/{number:x5}").ToArray();
        var options = new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = Token };
        await Parallel.ForEachAsync(keys, options, async (key, token) =>
            Assert.True(await store.PutIfAbsentAsync(key, new byte[key.Length % 3], token)));
        var all = await ListAsync(store, "index/");
        Assert.Equal(keys.Order(StringComparer.Ordinal), all.Select(info => info.Key).Order(StringComparer.Ordinal));
        Assert.All(all, info => Assert.Equal(info.Key.Length % 3, info.Size));
        Assert.Equal(keys.Count(key => key.StartsWith("index/3/", StringComparison.Ordinal)), (await ListAsync(store, "index/3/")).Count);
        Assert.Equal(keys.Length, (await ListAsync(store, "")).Count);
        Assert.Empty(await ListAsync(store, "index/none/"));
    }

    [Fact]
    public async Task BatchOfKeys_IsDeletedAndNothingElse()
    {
        await using var store = Open();
        Assert.InRange(store.DeleteBatch, 1, 1000);
        string[] keys = [.. Enumerable.Range(0, Math.Min(ManyKeys, store.DeleteBatch + 3)).Select(number => $"runs/b/{number:d5}")];
        var options = new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = Token };
        await Parallel.ForEachAsync(keys, options, async (key, token) => await store.PutIfAbsentAsync(key, new byte[1], token));
        var batch = keys[..Math.Min(keys.Length - 1, store.DeleteBatch)];
        await store.DeleteAsync(batch, Token);
        var left = (await ListAsync(store, "")).Select(info => info.Key).Order(StringComparer.Ordinal);
        Assert.Equal(keys[batch.Length..], left);
        await store.DeleteAsync(batch, Token); // absence is success
        await store.DeleteAsync([.. keys[1..batch.Length], keys[^1]], Token);
        Assert.Equal(keys.Length - batch.Length - 1, (await ListAsync(store, "")).Count);
    }

    [Fact]
    public async Task OddKeys_ComeBackAsTheyWere()
    {
        await using var store = Open();
        string[] keys =
        [
            "retire/0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11/0123.vd%20a%2Fb", "a/%25", "a/.b", "a/b..c", "a/_-_", "a/-", "Z/z",
            "long/" + new string('k', 250) + "/" + new string('l', 250), "a/b", "a/b.hb1", "a/b.hb10",
        ];
        foreach (var (index, key) in keys.Index())
            Assert.True(await store.PutIfAbsentAsync(key, new[] { (byte)index }, Token));
        var listed = (await ListAsync(store, "")).Select(info => info.Key);
        Assert.Equal(keys.Order(StringComparer.Ordinal), listed.Order(StringComparer.Ordinal));
        var content = new byte[1];
        foreach (var (index, key) in keys.Index())
        {
            Assert.Equal(1, await store.ReadAsync(key, 0, content, Token));
            Assert.Equal(index, content[0]);
            Assert.Equal(key, (await store.HeadAsync(key, Token))!.Value.Key);
            await store.DeleteAsync(key, Token);
        }

        Assert.Empty(await ListAsync(store, ""));
    }

    [Fact]
    public async Task LargeObject_IsReadExactlyAtEveryEnd()
    {
        await using var store = Open();
        var content = new byte[(9 << 20) + 12345];
        new Random(7).NextBytes(content);
        var hash = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content));
        var key = $"packs/0000000000000001/{RunId.New()}/d-{hash}";
        await using (var upload = await store.StartUploadAsync(Token))
        {
            foreach (var part in content.Chunk(1 << 20))
                await upload.WriteAsync(part, Token);
            Assert.True(await upload.CommitAsync(key, Token));
        }

        Assert.Equal(content.Length, (await store.HeadAsync(key, Token))!.Value.Size);
        foreach (var (offset, length) in new[]
        {
            (0, 1), (0, content.Length), (0, content.Length + 5), (content.Length - 1, 1), (content.Length - 1, 9),
            (content.Length, 4), (content.Length + 1, 4), ((4 << 20) - 3, 7), (5, (8 << 20) + 1),
        })
        {
            var part = new byte[length];
            var count = Math.Clamp(content.Length - offset, 0, length);
            Assert.Equal(count, await store.ReadAsync(key, offset, part, Token));
            var same = content.AsSpan(Math.Min(offset, content.Length), count).SequenceEqual(part.AsSpan(0, count));
            Assert.True(same, $"{length} bytes at {offset} differ.");
        }

        await Parallel.ForAsync(0, 32, Token, async (number, token) =>
        {
            var part = new byte[100_000];
            Assert.Equal(part.Length, await store.ReadAsync(key, number * 200_000, part, token));
            Assert.True(content.AsSpan(number * 200_000, part.Length).SequenceEqual(part));
        });
    }

    [Fact]
    public async Task CancelledUpload_LeavesNothing()
    {
        await using var store = Open();
        for (var round = 0; round < 4; round++)
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
            var key = $"packs/0000000000000001/{RunId.New()}/d-{new string('b', 64)}";
            await using var upload = await store.StartUploadAsync(Token);
            await upload.WriteAsync(new byte[4 << 20], Token);
            await stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => upload.CommitAsync(key, stop.Token).AsTask());
            Assert.Null(await store.HeadAsync(key, Token));
        }

        Assert.Empty(await ListAsync(store, ""));
    }

    private static async Task<List<ObjectInfo>> ListAsync(IObjectStore store, string prefix)
    {
        var all = new List<ObjectInfo>();
        await foreach (var info in store.ListAsync(prefix, Token))
            all.Add(info);
        return all;
    }
}
