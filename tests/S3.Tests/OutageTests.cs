// SPDX-License-Identifier: Apache-2.0
using Amazon.S3.Model;
using Tidemark.Cli.Tests;

namespace Tidemark.S3.Tests;

/// <summary>Parts of the store die in the middle of a backup or restore: what can be waited for is, and what ends, ends clean.</summary>
public sealed class OutageTests(CephFixture fixture, LabFixture lab)
{
    private const int Mebi = 1 << 20;
    private const string Rate = "24M"; // keeps what the test interrupts going for some seconds

    private static CancellationToken Token => CommandLine.Token;

    [Fact]
    public async Task OsdKilledInABackupAndInARestore_BothAreExact()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 160);
        var backup = await way.Command.RunAsync(_ => KillSoonAsync("osd.1"), "backup", way.Machine.Name, "--limit", Rate);
        backup.AssertDone();
        await fixture.Ceph.UpAsync("osd.1", Token);
        await fixture.Ceph.CleanAsync(Token);
        await way.AssertRestoresAsync(() => KillSoonAsync("osd.2"), "--limit", Rate);
        await fixture.Ceph.UpAsync("osd.2", Token);
        await fixture.Ceph.CleanAsync(Token);
        (await way.Command.RunAsync("verify", "--level", "data")).AssertDone();
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task EndpointGoneForHalfAMinute_IsWaitedFor()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 96);
        var begun = TimeProvider.System.GetTimestamp();
        var backup = await way.Command.RunAsync(_ => GoneForAsync(30), "backup", way.Machine.Name, "--limit", Rate);
        backup.AssertDone();
        Assert.True(TimeProvider.System.GetElapsedTime(begun).TotalSeconds > 30, "The backup did not last longer than the outage.");
        await way.AssertRestoresAsync(() => GoneForAsync(5), "--limit", Rate);
        (await way.Command.RunAsync("verify", "--level", "data")).AssertDone();
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task EndpointGoneForGood_FailsCleanAndTheNextRunWorks()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 96);
        (await way.Command.RunAsync("backup", way.Machine.Name)).AssertDone();
        await way.AssertRestoresAsync();
        await way.WriteAsync(0, 64 * Mebi);
        way.Command.Environment["TIDEMARK_STORE_PATIENCE"] = "6";
        var failed = await way.Command.RunAsync(_ => KillSoonAsync("rgw.a"), "backup", way.Machine.Name, "--limit", Rate);
        failed.AssertRefused(1, "can't be reached");
        Assert.Equal("", failed.Output);
        (await way.Command.RunAsync("restore", $"{way.Machine.Name}@latest", "--to", Path.Combine(way.Command.Root, "out")))
            .AssertRefused(1, "can't be reached");
        Assert.False(Directory.Exists(Path.Combine(way.Command.Root, "out")) && Directory.EnumerateFiles(
            Path.Combine(way.Command.Root, "out")).Any());
        await fixture.GatewayUpAsync(Token);
        Assert.Equal(1, await way.PointsAsync());
        var next = (await way.Command.RunAsync("backup", way.Machine.Name, "--json")).AssertDone().Json;
        Assert.Equal("incremental", next.GetProperty("points")[0].GetProperty("disks")[0].GetProperty("mode").GetString());
        await way.AssertRestoresAsync();
        (await way.Command.RunAsync("verify", "--level", "data")).AssertDone();
        await way.Machine.StopAsync(Token);
    }

    [Fact]
    public async Task WhatAFailedRunUploaded_IsNotSentAgain()
    {
        using var way = await S3CommandLine.CreateAsync(fixture, lab, 288);
        way.Command.Environment["TIDEMARK_STORE_PATIENCE"] = "3";
        var failed = await way.Command.RunAsync(_ => KillOncePacksAreThereAsync(way), "backup", way.Machine.Name, "--limit", Rate);
        failed.AssertRefused(1, "can't be reached");
        await fixture.GatewayUpAsync(Token);
        var packs = await ChunkPacksAsync(way);
        Assert.InRange(packs, 2, 4);
        var next = (await way.Command.RunAsync("backup", way.Machine.Name, "--json")).AssertDone().Json;
        Assert.Equal("full", next.GetProperty("points")[0].GetProperty("disks")[0].GetProperty("mode").GetString());
        var sent = next.GetProperty("requests").GetProperty("bytesSent").GetInt64();
        Assert.InRange(sent, 0, (289L - packs * 64) * Mebi);
        await way.AssertRestoresAsync();
        (await way.Command.RunAsync("verify", "--level", "data")).AssertDone();
        await way.Machine.StopAsync(Token);
    }

    private async Task KillOncePacksAreThereAsync(S3CommandLine way)
    {
        while (await ChunkPacksAsync(way) < 2)
            await Task.Delay(100, Token);
        await fixture.Ceph.KillAsync("rgw.a", Token);
    }

    private async Task<int> ChunkPacksAsync(S3CommandLine way)
    {
        var request = new ListObjectsV2Request { BucketName = way.Bucket, Prefix = "some/where/packs/" };
        var found = (await fixture.Admin.ListObjectsV2Async(request, Token)).S3Objects ?? [];
        return found.Count(pack => pack.Key.Contains("/d-", StringComparison.Ordinal));
    }

    private async Task KillSoonAsync(string daemon)
    {
        await Task.Delay(TimeSpan.FromSeconds(2.5), Token);
        await fixture.Ceph.KillAsync(daemon, Token);
    }

    private async Task GoneForAsync(int seconds)
    {
        await KillSoonAsync("rgw.a");
        await Task.Delay(TimeSpan.FromSeconds(seconds), Token);
        await fixture.GatewayUpAsync(Token);
    }
}
