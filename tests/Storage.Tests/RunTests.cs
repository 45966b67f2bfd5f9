// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

public sealed class RunTests
{
    [Fact]
    public async Task TombstoneAgainstCommit_ExactlyOneWins()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var ends = new List<RunEnd>();
        for (var round = 0; round < 40; round++)
        {
            await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
            var disk = await Fixture.WriteAsync(run, "vda", [(byte)round]);
            var commit = Task.Run(() => run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token), Fixture.Token);
            if (round % 2 == 0)
                await Task.WhenAny(commit);
            var end = await repository.FenceAsync(Fixture.Machine, run.Id, Fixture.Token);
            ends.Add(end);
            if (end == RunEnd.Committed)
                Assert.Equal(run.Id, (await commit).Id);
            else
                await Assert.ThrowsAsync<RunRevokedException>(() => commit);
            var point = await repository.GetPointAsync(Fixture.Machine, run.Id, Fixture.Token);
            Assert.Equal(end == RunEnd.Committed, point is not null);
        }

        Assert.Contains(RunEnd.Committed, ends);
    }

    [Fact]
    public async Task RevokedRun_FailsLoudlyAndLeavesNoPoint()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", [1]);
        Assert.Equal(RunEnd.Revoked, await RunFence.FenceAsync(store, Fixture.Machine, run.Id, Fixture.Token));
        await Assert.ThrowsAsync<RunRevokedException>(() => run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token));
        Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
    }

    [Fact]
    public async Task RunNotCommitted_LeavesItsTombstone()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        RunId id;
        await using (var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token))
        {
            id = run.Id;
            await Fixture.WriteAsync(run, "vda", new byte[1 << 20]);
        }

        Assert.Empty(store.Objects[$"points/{Fixture.Machine}/{id}"]);
    }

    [Fact]
    public async Task WritesHappenInOrder_PacksThenIndexThenPoint() // I3
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = new byte[300_000];
        new Random(1).NextBytes(content);
        await Fixture.BackUpAsync(repository, content);
        var kinds = store.Created.Select(key => key.Split('/')[0] + (key.Contains("/d-", StringComparison.Ordinal) ? "-d" : ""));
        Assert.Equal("keys config runs packs-d packs index points", string.Join(' ', kinds));
    }

    [Fact]
    public async Task NothingChanged_WritesRunAndPointOnly()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(5), 5 << 20);
        var first = await Fixture.BackUpAsync(repository, content);
        store.Created.Clear();
        var second = await Fixture.BackUpAsync(repository, content, first, []);
        Assert.Equal("runs points", string.Join(' ', store.Created.Select(key => key.Split('/')[0])));
        Assert.Equal(first.Disk("vda").Root, second.Disk("vda").Root);
        Assert.Equal(0, second.NewBytes);
        var third = await Fixture.BackUpAsync(repository, content, second);
        Assert.Equal(0, third.NewBytes);
        Assert.Equal(0, third.Disk("vda").ChangedBytes);
    }

    [Fact]
    public async Task SameContentOnAnotherMachine_IsStoredOnce()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(6), 5 << 20);
        var first = await Fixture.BackUpAsync(repository, content);
        using var later = await Fixture.OpenAsync(store);
        await using var run = await later.BeginRunAsync(new MachineId("other"), new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "sda", content);
        var point = await run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token);
        Assert.Equal(0, point.NewBytes);
        Assert.Equal(0, disk.StoredChunks);
        Assert.Equal(first.Disk("vda").Root, point.Disk("sda").Root);
        await Fixture.AssertHoldsAsync(later, point.Disk("sda"), content);
    }

    [Fact]
    public async Task TwoRunsAndFourDisksAtOnce_AreAllExact()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        using var second = await Fixture.OpenAsync(store, writer: 2);
        var contents = Enumerable.Range(0, 4).Select(seed => Fixture.Content(new Random(seed / 2), 3 << 20)).ToArray();
        var points = await Task.WhenAll(
            BackUpAllAsync(repository, new MachineId("a"), contents), BackUpAllAsync(second, new MachineId("b"), contents));
        foreach (var point in points)
        {
            for (var i = 0; i < contents.Length; i++)
                await Fixture.AssertHoldsAsync(repository, point.Disk($"vd{i}"), contents[i]);
        }

        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token)).IsSound);
    }

    [Fact]
    public async Task CancelledRun_ThrowsCancellationAndCommitsNothing()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        using var cancel = new CancellationTokenSource();
        await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", [1]);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.CommitAsync(Fixture.DraftOf(disk), cancel.Token));
        await run.FailAsync(Fixture.Token);
        Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
    }

    [Fact]
    public async Task StoreFailsWhileWriting_EveryLaterCallSaysWhy() // I13
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        store.BeforeWrite = (_, key) =>
        {
            if (key.StartsWith("packs/", StringComparison.Ordinal))
                throw new StoreException("No space left on device.", isTransient: false);
        };
        var content = new byte[1 << 20];
        new Random(2).NextBytes(content);
        var failure = await Assert.ThrowsAsync<StoreException>(() => Fixture.BackUpAsync(repository, content));
        Assert.Equal("No space left on device.", failure.Message);
        store.BeforeWrite = null;
        Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
    }

    [Fact]
    public async Task DeletedBase_IsRefused()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var point = await Fixture.BackUpAsync(repository, [1, 2, 3]);
        await store.PutIfAbsentAsync($"retire/{Fixture.Machine}/{point.Id}", new byte[] { 1 }, Fixture.Token);
        await Assert.ThrowsAsync<BaseUnusableException>(() => Fixture.BackUpAsync(repository, [1, 2, 4], point));
        Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
        Assert.Equal(2, (await Fixture.BackUpAsync(repository, [1, 2, 4])).Seq);
    }

    [Fact]
    public async Task DeletedDisk_IsNotListed()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        await BackUpAllAsync(repository, Fixture.Machine, [[1], [2]]);
        var point = (await repository.ListPointsAsync(Fixture.Machine, Fixture.Token)).Points[0];
        await store.PutIfAbsentAsync($"retire/{Fixture.Machine}/{point.Id}.vd1", new byte[] { 1 }, Fixture.Token);
        var left = await repository.GetPointAsync(Fixture.Machine, point.Id, Fixture.Token);
        Assert.Equal("vd0", Assert.Single(left!.Disks).Name);
    }

    [Fact]
    public async Task UnchangedFile_IsInherited()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var nvram = Fixture.Content(new Random(8), 200_000);
        var first = await WithFileAsync(repository, nvram, null);
        var second = await WithFileAsync(repository, nvram, first);
        Assert.True(first.NewBytes > 0);
        Assert.Equal(0, second.NewBytes);
        Assert.Equal(nvram, await repository.ReadFileAsync(Assert.Single(second.Files), Fixture.Token));
    }

    [Fact]
    public async Task ShortId_FindsThePoint()
    {
        using var repository = await Fixture.InitAsync(new MemoryStore());
        var point = await Fixture.BackUpAsync(repository, [7]);
        Assert.Equal(12, point.ShortId.Length);
        Assert.Equal(point.Id, Assert.Single(await repository.FindPointsAsync(point.ShortId[..6], Fixture.Token)).Id);
        Assert.Empty(await repository.FindPointsAsync("zz", Fixture.Token));
    }

    [Fact]
    public async Task Reader_RegistersAndEnds()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var point = await Fixture.BackUpAsync(repository, [7]);
        store.Created.Clear();
        await using (var run = await repository.BeginReadAsync(point, Fixture.Token))
        {
            await using var disk = run.OpenDisk("vda");
            var content = new byte[1];
            await disk.ReadAsync(0, content, Fixture.Token);
            Assert.Equal(7, content[0]);
        }

        var keys = store.Created.ToArray();
        Assert.Equal(2, keys.Length);
        Assert.Equal(keys[0] + ".end", keys[1]);
    }

    private static async Task<RestorePoint> BackUpAllAsync(Repository repository, MachineId machine, byte[][] contents)
    {
        await using var run = await repository.BeginRunAsync(machine, new BackupRunOptions(), Fixture.Token);
        var writing = contents.Select((content, i) => Task.Run(() => Fixture.WriteAsync(run, $"vd{i}", content), Fixture.Token));
        return await run.CommitAsync(Fixture.DraftOf(await Task.WhenAll(writing)), Fixture.Token);
    }

    private static async Task<RestorePoint> WithFileAsync(Repository repository, byte[] file, RestorePoint? origin)
    {
        var options = new BackupRunOptions { Bases = origin is null ? [] : [origin] };
        await using var run = await repository.BeginRunAsync(Fixture.Machine, options, Fixture.Token);
        var stored = await run.StoreFileAsync("nvram", file, Fixture.Token);
        return await run.CommitAsync(Fixture.DraftOf() with { Files = [stored] }, Fixture.Token);
    }
}
