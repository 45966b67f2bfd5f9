// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Tidemark.Lab;
using Tidemark.S3.Tests;
using Tidemark.Storage;

[assembly: AssemblyFixture(typeof(CephFixture))]
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Tidemark.S3.Tests;

/// <summary>One Ceph for all tests of this project; every test has a bucket of its own. The tests run one after another, since some of
/// them kill daemons.</summary>
public sealed class CephFixture : IAsyncLifetime
{
    private static readonly TimeSpan UpTime = TimeSpan.FromSeconds(60);

    public CephCluster Ceph { get; private set; } = null!;

    /// <summary>The SDK's own client, for what only an administrator does.</summary>
    public AmazonS3Client Admin { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Ceph = await CephCluster.StartAsync(cancellationToken: TestContext.Current.CancellationToken);
        Admin = new AmazonS3Client(
            new BasicAWSCredentials(CephCluster.AccessKey, CephCluster.SecretKey),
            new AmazonS3Config
            {
                ServiceURL = Ceph.Endpoint,
                ForcePathStyle = true,
                AuthenticationRegion = "us-east-1",
                RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            });
    }

    public async ValueTask DisposeAsync()
    {
        Admin?.Dispose();
        if (Ceph is not null)
            await Ceph.DisposeAsync();
    }

    /// <summary>A new empty bucket's name.</summary>
    public async Task<string> NewBucketAsync()
    {
        var bucket = $"t-{Guid.NewGuid():N}"[..20];
        await Admin.PutBucketAsync(new PutBucketRequest { BucketName = bucket }, TestContext.Current.CancellationToken);
        return bucket;
    }

    public S3Options OptionsOf(string bucket, string prefix = "") => new()
    {
        Bucket = bucket,
        Prefix = prefix,
        Endpoint = Ceph.Endpoint,
        PathStyle = true,
        Keys = (CephCluster.AccessKey, CephCluster.SecretKey),
    };

    /// <summary>Waits until the gateway answers again.</summary>
    public async Task GatewayUpAsync(CancellationToken cancellationToken)
    {
        await Ceph.UpAsync("rgw.a", cancellationToken);
        var begun = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                await Admin.ListBucketsAsync(cancellationToken);
                return;
            }
            catch (Exception e) when (e is AmazonClientException or HttpRequestException && Stopwatch.GetElapsedTime(begun) < UpTime)
            {
                await Task.Delay(100, cancellationToken);
            }
        }
    }
}
