// SPDX-License-Identifier: Apache-2.0
using System.Net;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Tidemark.Cli.Tests;

namespace Tidemark.S3.Tests;

/// <summary>The policy of docs/s3.md on radosgw: a host can back up and restore with it, and what it then does to history.</summary>
public sealed class HostileHostTests(CephFixture fixture, LabFixture lab)
{
    private const string HostSecret = "hostsecret";

    private static CancellationToken Token => CommandLine.Token;

    [Fact]
    public async Task HostThatCanOnlyAdd_BacksUpButCanNotDelete_AndWhatItOverwritesIsFound()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 16);
        var user = $"host-{way.Bucket}";
        await fixture.Ceph.AdminAsync(
            ["user", "create", $"--uid={user}", "--display-name=host", $"--access-key={user}", $"--secret-key={HostSecret}"], Token);
        await fixture.Admin.PutBucketPolicyAsync(new PutBucketPolicyRequest { BucketName = way.Bucket, Policy = Policy(way, user) }, Token);
        way.Command.Environment["AWS_ACCESS_KEY_ID"] = user;
        way.Command.Environment["AWS_SECRET_ACCESS_KEY"] = HostSecret;
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        await way.WriteAsync(1 << 20, 1 << 20);
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        await way.AssertRestoresAsync();

        using var host = HostClient(user);
        var keys = await KeysAsync(way.Bucket);
        foreach (var key in keys)
            await RefusedAsync(() => host.DeleteObjectAsync(way.Bucket, key, Token));
        foreach (var key in (string[])["config", "keys/0123456789abcdef", "retire/m/x", "gc/00000001/condemn"])
            await RefusedAsync(() => PutAsync(host, way.Bucket, $"some/where/{key}", []));
        Assert.Equal(keys, await KeysAsync(way.Bucket));
        (await way.Command.RunAsync("verify", "--level", "data")).AssertDone();

        string First(string part) => keys.First(key => key.Contains(part, StringComparison.Ordinal));
        await FoundAsync(way, host, First("/packs/"), "packs", "verify", "--no-quarantine", "--level");
        await FoundAsync(way, host, First("/index/"), "quick", "verify", "--no-quarantine", "--level");
        await FoundAsync(way, host, First("/points/"), "quick", "verify", "--no-quarantine", "--level");
        await way.AssertRestoresAsync();
        await way.Machine.StopAsync(Token);
    }

    // Overwrites an object with as many other bytes, sees that this is found and named, and puts the right ones back.
    private static async Task FoundAsync(S3CommandLine way, AmazonS3Client host, string key, string last, params string[] command)
    {
        using var response = await host.GetObjectAsync(new GetObjectRequest { BucketName = way.Bucket, Key = key }, Token);
        using var right = new MemoryStream();
        await response.ResponseStream.CopyToAsync(right, Token);
        await PutAsync(host, way.Bucket, key, new byte[right.Length]);
        var outcome = await way.Command.RunAsync([.. command, last]);
        Assert.Equal(5, outcome.ExitCode);
        Assert.Contains(key["some/where/".Length..], outcome.Output + outcome.Errors, StringComparison.Ordinal);
        await PutAsync(host, way.Bucket, key, right.ToArray());
        (await way.Command.RunAsync([.. command, last])).AssertDone();
    }

    private static string Policy(S3CommandLine way, string user)
    {
        var page = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "s3.md"));
        var policy = page.Split("```json\n")[1].Split("```")[0];
        return policy.Replace("USER", user, StringComparison.Ordinal).Replace("BUCKET", way.Bucket, StringComparison.Ordinal)
            .Replace("PREFIX", "some/where", StringComparison.Ordinal);
    }

    private static Task PutAsync(AmazonS3Client client, string bucket, string key, byte[] content) => client.PutObjectAsync(
        new PutObjectRequest { BucketName = bucket, Key = key, InputStream = new MemoryStream(content), UseChunkEncoding = false }, Token);

    private static async Task RefusedAsync(Func<Task> attempt) =>
        Assert.Equal(HttpStatusCode.Forbidden, (await Assert.ThrowsAsync<AmazonS3Exception>(attempt)).StatusCode);

    private async Task<List<string>> KeysAsync(string bucket) =>
        [.. (await fixture.Admin.ListObjectsV2Async(new ListObjectsV2Request { BucketName = bucket }, Token)).S3Objects
            .Select(found => found.Key).Order(StringComparer.Ordinal)];

    // Refused requests with bodies bring a plain http connection of this server out of step, hence TLS.
    private AmazonS3Client HostClient(string user) => new(
        new BasicAWSCredentials(user, HostSecret),
        new AmazonS3Config
        {
            ServiceURL = fixture.Ceph.TlsEndpoint,
            ForcePathStyle = true,
            AuthenticationRegion = "us-east-1",
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            HttpClientFactory = new AnyCertificate(),
        });

    private sealed class AnyCertificate : HttpClientFactory
    {
        public override HttpClient CreateHttpClient(IClientConfig clientConfig)
        {
#pragma warning disable CA2000, MA0039 // the SDK disposes it; the lab's certificate is its own
            return new HttpClient(
                new HttpClientHandler
                {
                    ServerCertificateCustomValidationCallback = HttpClientHandler.DangerousAcceptAnyServerCertificateValidator,
                });
#pragma warning restore CA2000, MA0039
        }
    }
}
