// SPDX-License-Identifier: Apache-2.0
using Amazon.S3.Model;
using Tidemark.Cli.Tests;
using Tidemark.Lab;

namespace Tidemark.S3.Tests;

/// <summary>A user's whole way with a bucket as repository, and what goes wrong on it.</summary>
public sealed class WholeWayTests(CephFixture fixture, LabFixture lab)
{
    private const int Mebi = 1 << 20;

    private static CancellationToken Token => CommandLine.Token;

    [Fact]
    public async Task Backups_AreRestoredAndVerifiedExactly()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 96);
        var full = (await way.Command.RunAsync("backup", way.Machine.Name, "--json")).AssertDone().Json;
        Assert.InRange(full.GetProperty("requests").GetProperty("put").GetInt64(), 5, 12);
        Assert.True(full.GetProperty("requests").GetProperty("bytesSent").GetInt64() > 96 * Mebi);
        await way.AssertRestoresAsync();
        await way.WriteAsync(33 * Mebi, 3 * Mebi);
        var next = (await way.Command.RunAsync("backup", way.Machine.Name, "--json")).AssertDone().Json;
        var disk = next.GetProperty("points")[0].GetProperty("disks")[0];
        Assert.Equal("incremental", disk.GetProperty("mode").GetString());
        Assert.InRange(next.GetProperty("requests").GetProperty("bytesSent").GetInt64(), 3 * Mebi, 5 * Mebi);
        await way.AssertRestoresAsync();
        Assert.Equal(2, await way.PointsAsync());
        (await way.Command.RunAsync("show", $"{way.Machine.Name}@latest")).AssertDone();
        foreach (var level in (string[])["quick", "packs", "data"])
            (await way.Command.RunAsync("verify", "--level", level)).AssertDone();
        (await way.Command.RunAsync("init")).AssertRefused(1, "already");
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task CacheDeletedAgainAndAgain_ChangesNothing()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 64);
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        await way.AssertRestoresAsync();
        Assert.NotEmpty(Directory.GetFiles(way.Cache, "*", SearchOption.AllDirectories));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        var deletions = 0;
        var deleting = DeleteAsync();
        await way.AssertRestoresAsync();
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        (await way.Command.RunAsync("list")).AssertDone();
        await stop.CancelAsync();
        await deleting;
        Assert.True(deletions > 1, $"The cache was there to be deleted {deletions} times.");
        await way.Machine.StopAsync(Token);

        async Task DeleteAsync()
        {
            while (!stop.IsCancellationRequested)
            {
                if (Directory.Exists(way.Cache))
                {
                    await Tool.RunAsync("rm", ["-rf", way.Cache], Token);
                    deletions++;
                }

                await Task.Delay(5, Token);
            }
        }
    }

    [Fact]
    public async Task Limit_HoldsBothWays()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 24);
        var begun = TimeProvider.System.GetTimestamp();
        (await way.Command.RunAsync("backup", way.Machine.Name, "--limit", "8M")).AssertDone();
        Assert.True(TimeProvider.System.GetElapsedTime(begun).TotalSeconds > 2.8, "24 MiB at 8 MiB/s were sent too fast.");
        begun = TimeProvider.System.GetTimestamp();
        await way.AssertRestoresAsync(null, "--limit", "8M");
        Assert.True(TimeProvider.System.GetElapsedTime(begun).TotalSeconds > 2.8, "24 MiB at 8 MiB/s were read too fast.");
        (await way.Command.RunAsync("backup", way.Machine.Name, "--limit", "fast")).AssertRefused(2, "Limit 'fast'");
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task VersionedBucket_IsRefusedUnlessForASingleWriter()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 16, init: false);
        await fixture.Admin.PutBucketVersioningAsync(
            new PutBucketVersioningRequest
            {
                BucketName = way.Bucket,
                VersioningConfig = new S3BucketVersioningConfig { Status = Amazon.S3.VersionStatus.Enabled },
            },
            Token);
        var refused = await way.Command.RunAsync("init");
        refused.AssertRefused(1, "ignores 'If-None-Match: *'");
        Assert.Contains("--allow-single-writer", refused.Errors, StringComparison.Ordinal);
        var made = (await way.Command.RunAsync("init", "--allow-single-writer")).AssertDone();
        Assert.Contains("only this", made.Output, StringComparison.Ordinal);
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        await way.WriteAsync(Mebi, Mebi);
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        await way.AssertRestoresAsync();
        (await way.Command.RunAsync("verify", "--level", "data")).AssertDone();
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task AllowSingleWriter_ChangesNothingWhereItIsNotNeeded()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 0, init: false);
        var made = (await way.Command.RunAsync("init", "--allow-single-writer", "--json")).AssertDone().Json;
        Assert.False(made.GetProperty("singleWriter").GetBoolean());
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task WhatIsWrongWithTheBucketOrTheKeys_IsSaidInOneLineWithAHint()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 0);
        var bucket = way.Command.Environment["TIDEMARK_REPO"];
        await RefusedAsync("bucket 'no-such-bucket-here' does not exist", "create-bucket", "TIDEMARK_REPO", "s3://no-such-bucket-here");
        await RefusedAsync("does not know this access key", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "someoneelse");
        await RefusedAsync("the secret key is not the access key's", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "wrong");
        await RefusedAsync("certificate is not trusted", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", fixture.Ceph.TlsEndpoint);
        await RefusedAsync("can't be reached", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        await RefusedAsync("no credentials were found", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "");
        way.Command.Environment["TIDEMARK_REPO"] = "s3://no";
        (await way.Command.RunAsync("list")).AssertRefused(2, "names no bucket");
        way.Command.Environment["TIDEMARK_REPO"] = $"s3://{way.Bucket}/elsewhere";
        (await way.Command.RunAsync("list")).AssertRefused(1, "There is no repository");
        way.Command.Environment["TIDEMARK_REPO"] = bucket;
        way.Command.Environment["AWS_ENDPOINT_URL"] = fixture.Ceph.TlsEndpoint;
        way.Command.Environment["AWS_CA_BUNDLE"] = fixture.Ceph.CaBundle;
        (await way.Command.RunAsync("list")).AssertDone();
        await way.Machine.StopAsync(Token);

        async Task RefusedAsync(string error, string hint, string variable, string value)
        {
            var right = way.Command.Environment[variable];
            foreach (var command in (string[])["init", "list"])
            {
                way.Command.Environment[variable] = value;
                var outcome = await way.Command.RunAsync(command);
                outcome.AssertRefused(1, error);
                var line = Assert.Single(outcome.Errors.Split('\n'), text => text.StartsWith("hint: ", StringComparison.Ordinal));
                Assert.Contains(hint, line, StringComparison.Ordinal);
            }

            way.Command.Environment[variable] = right;
        }
    }

    [Fact]
    public async Task ClockADayOff_IsSaid()
    {
        const string library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
        Assert.SkipUnless(File.Exists(library), $"'{library}' (package libfaketime) is not there.");
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 0);
        way.Command.Environment["LD_PRELOAD"] = library;
        way.Command.Environment["DONT_FAKE_MONOTONIC"] = "1";
        foreach (var shift in (string[])["+1d", "-1d"])
        {
            way.Command.Environment["FAKETIME"] = shift;
            var outcome = await way.Command.RunAsync("list");
            outcome.AssertRefused(1, "this host's clock differs too much");
            Assert.Contains("hint: timedatectl", outcome.Errors, StringComparison.Ordinal);
        }

        await way.Machine.StopAsync(Token);
    }
}
