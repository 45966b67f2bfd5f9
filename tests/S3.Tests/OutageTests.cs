// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Security.Cryptography;
using Amazon.S3.Model;
using Tidemark.Cli.Tests;
using Tidemark.Storage;
using Tidemark.TestKit;

namespace Tidemark.S3.Tests;

/// <summary>Parts of the store die in the middle of a backup or restore: what can be waited for is, and what ends, ends clean.</summary>
public sealed class OutageTests(CephFixture fixture, LabFixture lab)
{
    private const int Mebi = 1 << 20;
    private const string Rate = "24M"; // keeps what the test interrupts going for some seconds

    private static readonly MachineId Machine = new("hour");

    private static OpenOptions Options => new() { Writer = WriterId.Parse("0000000000000001") };

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

    /// <summary>The patience of a user, five minutes, on a clock that only waiting moves.</summary>
    [Fact]
    public async Task EndpointGoneForAnHour_IsGivenUpAfterItsPatience_AndTheNextRunAdoptsWhatWasSent()
    {
        var clock = new SteppingClock();
        var bucket = await fixture.NewBucketAsync();
        await using var proxy = new CuttingProxy(fixture.Ceph.Endpoint, new Random(1), 0);
        var content = RandomNumberGenerator.GetBytes(160 * Mebi);
        var (failing, sentBefore) = Open(proxy, bucket, clock);
        await using (failing)
        {
            using var made = await Repository.InitAsync(failing, new InitOptions { Credentials = Credentials.None }, Options, Token);
            await using var run = await made.BeginRunAsync(Machine, new BackupRunOptions(), Token);
            var disk = run.OpenDisk("vda", content.Length, 18, null);
            await WriteAsync(disk, content, 0, 560);
            while (await ChunkPacksAsync(bucket, "") < 2)
                await Task.Delay(50, Token);
            proxy.IsGone = true;
            var failure = await Assert.ThrowsAsync<StoreException>(async () =>
            {
                await WriteAsync(disk, content, 560, 640);
                await run.CommitAsync(DraftOf(await disk.FinishAsync(Token)), Token);
            });
            Assert.Contains("tried again for", failure.Message, StringComparison.Ordinal);
            Assert.InRange(clock.Waited.TotalSeconds, 294, 3000); // several calls waited, each not longer than the patience
            await Assert.ThrowsAsync<StoreException>(() => made.ListPointsAsync(null, Token));
        }

        proxy.IsGone = false; // an hour later
        var (again, sent) = Open(proxy, bucket, clock);
        await using var store = again;
        using var repository = await Repository.OpenAsync(store, Credentials.None, Options, Token);
        Assert.Empty((await repository.ListPointsAsync(null, Token)).Points);
        await FenceAllAsync(store);
        await using var next = await repository.BeginRunAsync(Machine, new BackupRunOptions(), Token);
        var whole = next.OpenDisk("vda", content.Length, 18, null);
        await WriteAsync(whole, content, 0, 640);
        var point = await next.CommitAsync(DraftOf(await whole.FinishAsync(Token)), Token);
        Assert.True(sentBefore.BytesSent >= 128L * Mebi, $"The first run sent {sentBefore.BytesSent} bytes.");
        Assert.InRange(sent.BytesSent, 20L * Mebi, 36L * Mebi);
        await using var reader = repository.OpenDisk(point.Disk("vda"));
        var read = new byte[content.Length];
        await reader.ReadAsync(0, read, Token);
        Assert.True(content.AsSpan().SequenceEqual(read), "The restored disk differs.");
        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Token)).IsSound);
    }

    private (IObjectStore Store, RequestCounts Counts) Open(CuttingProxy proxy, string bucket, SteppingClock clock)
    {
        var counts = new RequestCounts();
        var retry = new RetryPolicy(clock, new Random(1));
        var options = fixture.OptionsOf(bucket) with { Endpoint = proxy.Endpoint, Retry = retry };
        return (new RetryStore(new MeterStore(new S3Store(options), counts), retry), counts);
    }

    private static RestorePointDraft DraftOf(DiskResult disk) => new()
    {
        Name = "hour",
        Time = DateTimeOffset.UnixEpoch,
        Disks = [new DraftDisk(disk, new PointDisk { Mode = "full" })],
    };

    private static async Task WriteAsync(DiskWriter disk, byte[] content, int from, int to)
    {
        for (var chunk = from; chunk < to; chunk++)
        {
            var buffer = MemoryPool<byte>.Shared.Rent(disk.ChunkSize);
            content.AsSpan(chunk * disk.ChunkSize, disk.ChunkSize).CopyTo(buffer.Memory.Span);
            await disk.WriteAsync(chunk, buffer, Token);
        }
    }

    // What the start of a host's next run does for its dead processes: this one lives on.
    private static async Task FenceAllAsync(IObjectStore store)
    {
        var runs = new List<string>();
        await foreach (var info in store.ListAsync("runs/", Token))
            runs.Add(info.Key.Split('/')[^1]);
        foreach (var run in runs)
            await RunFence.FenceAsync(store, Machine, RunId.Parse(run), Token);
    }

    private async Task KillOncePacksAreThereAsync(S3CommandLine way)
    {
        while (await ChunkPacksAsync(way) < 2)
            await Task.Delay(100, Token);
        await fixture.Ceph.KillAsync("rgw.a", Token);
    }

    private Task<int> ChunkPacksAsync(S3CommandLine way) => ChunkPacksAsync(way.Bucket, "some/where/");

    private async Task<int> ChunkPacksAsync(string bucket, string prefix)
    {
        var request = new ListObjectsV2Request { BucketName = bucket, Prefix = prefix + "packs/" };
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
