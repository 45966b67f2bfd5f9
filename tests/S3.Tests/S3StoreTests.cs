// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;
using Tidemark.Storage.Tests;

namespace Tidemark.S3.Tests;

/// <summary>The conformance suite of all stores, on a bucket of a real Ceph.</summary>
public sealed class S3StoreTests(CephFixture fixture) : StoreContract, IAsyncLifetime
{
    private string _bucket = "";

    public async ValueTask InitializeAsync() => _bucket = await fixture.NewBucketAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    protected override IObjectStore Open() => new S3Store(fixture.OptionsOf(_bucket));
}

/// <summary>The same below a prefix, over TLS, with the layers a user has.</summary>
public sealed class S3StoreWithLayersTests(CephFixture fixture) : StoreContract, IAsyncLifetime
{
    private readonly string _cache = Directory.CreateTempSubdirectory("tidemark-s3-cache-").FullName;
    private string _bucket = "";

    public async ValueTask InitializeAsync() => _bucket = await fixture.NewBucketAsync();

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_cache, recursive: true);
        return ValueTask.CompletedTask;
    }

    protected override IObjectStore Open()
    {
        var retry = new RetryPolicy(TimeProvider.System, new Random(1));
        var options = fixture.OptionsOf(_bucket, "a/prefix") with
        {
            Endpoint = fixture.Ceph.TlsEndpoint,
            CaBundle = fixture.Ceph.CaBundle,
            Retry = retry,
        };
        var store = new RetryStore(new MeterStore(new S3Store(options), new RequestCounts()), retry);
        return new CacheStore(store, new CacheFolder(_cache, CacheFolder.DefaultLimit));
    }
}

/// <summary>And without atomic create, as the only writer: the lock of the host takes its place.</summary>
public sealed class S3SingleWriterTests(CephFixture fixture) : StoreContract, IAsyncLifetime
{
    private string _bucket = "";

    protected override int ManyKeys => 300;

    public async ValueTask InitializeAsync() => _bucket = await fixture.NewBucketAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    protected override IObjectStore Open() => new S3Store(fixture.OptionsOf(_bucket) with { SingleWriter = true });
}
