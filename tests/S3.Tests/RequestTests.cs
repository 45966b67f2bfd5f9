// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using Tidemark.Storage;
using Tidemark.TestKit;

namespace Tidemark.S3.Tests;

/// <summary>Single requests that go wrong on the way.</summary>
public sealed class RequestTests(CephFixture fixture)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AnswersLost_EveryCreateHasOneWinnerWhoKnowsItAndListingsAreWhole()
    {
        var seed = Seed.Choose(31);
        var options = fixture.OptionsOf(await fixture.NewBucketAsync());
        await using var proxy = new CuttingProxy(fixture.Ceph.Endpoint, new Random(seed), 0.2);
        var retry = new RetryPolicy(TimeProvider.System, new Random(seed)) { FirstPause = TimeSpan.FromMilliseconds(5) };
        await using var store = new RetryStore(new S3Store(options with { Endpoint = proxy.Endpoint, Retry = retry }), retry);
        var keys = Enumerable.Range(0, 1100).Select(number => $"index/{number:x4}").ToArray();
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Token };
        await Parallel.ForEachAsync(keys, parallel, async (key, token) =>
        {
            var first = Convert.FromHexString(key[^4..]);
            Assert.True(await store.PutIfAbsentAsync(key, first, token), $"'{key}' was lost with seed {seed}.");
            Assert.False(await store.PutIfAbsentAsync(key, new byte[] { 1, 2, 3 }, token), $"'{key}' was won twice with seed {seed}.");
        });
        var listed = new List<string>();
        await foreach (var info in store.ListAsync("index/", Token))
            listed.Add(info.Key);
        Assert.Equal(keys, listed.Order(StringComparer.Ordinal));
        var content = RandomNumberGenerator.GetBytes(30_000);
        var pack = await UploadAsync(store, content);
        var read = new byte[content.Length];
        Assert.Equal(read.Length, await store.ReadAsync(pack, 0, read, Token));
        Assert.Equal(content, read);
        Assert.True(proxy.Cuts > 200, $"Only {proxy.Cuts} answers were lost with seed {seed}.");
    }

    [Fact]
    public async Task UploadCancelledInTheMiddle_LeavesNothing()
    {
        var options = fixture.OptionsOf(await fixture.NewBucketAsync());
        await using var store = new S3Store(options with { Limit = new RateLimit(2 << 20, TimeProvider.System) });
        var content = RandomNumberGenerator.GetBytes(8 << 20);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        await using var upload = await store.StartUploadAsync(Token);
        await upload.WriteAsync(content, Token);
        var key = KeyOf(content);
        stop.CancelAfter(TimeSpan.FromSeconds(1));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => upload.CommitAsync(key, stop.Token).AsTask());
        await Task.Delay(TimeSpan.FromSeconds(1), Token);
        Assert.Null(await store.HeadAsync(key, Token));
    }

    [Fact]
    public async Task SilentServer_IsGivenUpAfterTheStallTime()
    {
        using var silent = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        silent.Start();
        var options = fixture.OptionsOf("silent") with
        {
            Endpoint = $"http://127.0.0.1:{((System.Net.IPEndPoint)silent.LocalEndpoint).Port}",
            StallTime = TimeSpan.FromSeconds(1),
        };
        await using var store = new S3Store(options);
        var failure = await Assert.ThrowsAsync<StoreException>(() => store.HeadAsync("config", Token).AsTask());
        Assert.True(failure.IsTransient);
        Assert.Contains("sent and took nothing for 1 s", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ServerWithoutConditionalCreate_IsToldApartAndRefused()
    {
        using var probe = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        probe.Start();
        var endpoint = $"http://127.0.0.1:{((System.Net.IPEndPoint)probe.LocalEndpoint).Port}/";
        probe.Stop();
        using var server = new System.Net.HttpListener();
        server.Prefixes.Add(endpoint);
        server.Start();
        var answering = AnswerAsync(server);
        await using (var store = new S3Store(fixture.OptionsOf("any-bucket") with { Endpoint = endpoint.TrimEnd('/') }))
        {
            var failure = await Assert.ThrowsAsync<StoreUnsuitableException>(() => store.ProbeAsync(Token).AsTask());
            Assert.Contains("no conditional create (501)", failure.Message, StringComparison.Ordinal);
            Assert.Contains("--allow-single-writer", failure.Hint, StringComparison.Ordinal);
        }

        server.Stop();
        await answering;
    }

    // As OpenStack Swift: whatever has a condition is not implemented.
    private static async Task AnswerAsync(System.Net.HttpListener server)
    {
        try
        {
            while (true)
            {
                var context = await server.GetContextAsync();
                await context.Request.InputStream.CopyToAsync(Stream.Null, Token);
                context.Response.StatusCode = context.Request.Headers["If-None-Match"] is null ? 204 : 501;
                context.Response.Close();
            }
        }
        catch (Exception e) when (e is System.Net.HttpListenerException or ObjectDisposedException)
        {
            return; // stopped
        }
    }

    private static async Task<string> UploadAsync(RetryStore store, byte[] content)
    {
        var key = KeyOf(content);
        await using var upload = await store.StartUploadAsync(Token);
        await upload.WriteAsync(content, Token);
        Assert.True(await upload.CommitAsync(key, Token));
        return key;
    }

    private static string KeyOf(byte[] content) =>
        $"packs/0000000000000001/{RunId.New()}/d-{Convert.ToHexStringLower(SHA256.HashData(content))}";
}
