// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>Forget and collect, one collector at a time.</summary>
public sealed class CollectorTests
{
    [Fact]
    public async Task DeletedPoint_IsHiddenAtOnceAndItsBytesGoAfterTheWindow()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 1_000_000, seed: 1);
        var second = await lab.BackUpAsync("a", 1_000_000, seed: 2);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        Assert.Equal(second.Id, Assert.Single(await lab.PointsAsync()).Id);
        var before = lab.PackBytes;
        var early = await lab.CollectAsync();
        Assert.Equal((0, 0L), (early.Expired, early.DeletedBytes));
        Assert.Equal(before, lab.PackBytes);
        lab.Store.Now += TimeSpan.FromHours(25);
        var late = await lab.CollectAsync();
        Assert.Equal(1, late.Expired);
        Assert.InRange(late.DeletedBytes, before / 4, before * 3 / 4);
        Assert.Equal(before - late.DeletedBytes, lab.PackBytes);
        Assert.Equal(lab.PackBytes, late.KeptBytes);
        await lab.AssertAllHoldAsync();
        Assert.DoesNotContain(lab.Store.Objects.Keys, key => key == ObjectNames.Point(first.MachineId, first.Id));
    }

    [Fact]
    public async Task Collection_LeavesNoGarbage()
    {
        var lab = await CollectorLab.CreateAsync();
        for (var seed = 1; seed <= 4; seed++)
            await lab.BackUpAsync("a", 600_000, seed);
        await lab.RetireAllAsync();
        for (var call = 0; call < 2; call++)
        {
            lab.Store.Now += TimeSpan.FromHours(25);
            await lab.CollectAsync();
            await lab.BackUpAsync("b", 10_000, seed: 5 + call); // so that there is an epoch
        }

        Assert.DoesNotContain(lab.Store.Objects.Keys, key => key.Contains("/a/", StringComparison.Ordinal));
        await lab.CollectAsync();
        string[] left = [.. lab.Store.Objects.Keys.Where(key => !key.StartsWith("gc/", StringComparison.Ordinal)
            && !key.StartsWith("points/b/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        Assert.Equal(4, left.Count(key => key.StartsWith("packs/", StringComparison.Ordinal))); // chunks and nodes of each
        Assert.Single(left, key => key.StartsWith("index/", StringComparison.Ordinal));
        Assert.All(left.Where(key => key.StartsWith("runs/", StringComparison.Ordinal)), key => Assert.Contains("/_gc/", key));
    }

    [Fact]
    public async Task NothingToDo_BeginsNoEpoch()
    {
        var lab = await CollectorLab.CreateAsync();
        await lab.BackUpAsync("a", 500_000, seed: 1);
        Assert.Equal(1, (await lab.CollectAsync()).EpochsFinished); // folds
        var again = await lab.CollectAsync();
        Assert.Equal((0, 0), (again.EpochsFinished, again.Epoch));
    }

    [Fact]
    public async Task SparsePack_IsMovedWithoutLosingAByte()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 2_000_000, seed: 1);
        var content = lab.ContentOf(first).ToArray();
        new Random(2).NextBytes(content.AsSpan(0, 1_500_000));
        var second = await lab.BackUpContentAsync("a", content, first, changed: null);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        var result = await lab.CollectAsync();
        Assert.Contains(result.Packs, pack => pack.Why == "moved");
        Assert.True(result.MovedBytes > 0);
        await lab.AssertAllHoldAsync();
        Assert.Equal(second.Id, Assert.Single(await lab.PointsAsync()).Id);
    }

    [Fact]
    public async Task Undo_BringsThePointBackUntilTheWindowIsOver()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 700_000, seed: 1);
        await lab.Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        var back = await lab.Repository.UndoAsync(point.MachineId, point.Id, Fixture.Token);
        lab.Adopt(back, lab.ContentOf(point));
        Assert.Equal(point.Disk("vda").Root, back.Disk("vda").Root);
        lab.Store.Now += TimeSpan.FromHours(25);
        await lab.CollectAsync();
        await lab.AssertAllHoldAsync();
        await Assert.ThrowsAsync<PointGoneException>(() => lab.Repository.UndoAsync(point.MachineId, point.Id, Fixture.Token));
    }

    [Fact]
    public async Task UndoOfAnExpiredPoint_IsRefusedBeforeItsKeyIsGone()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 700_000, seed: 1);
        lab.Store.Objects[ObjectNames.Expire(point.MachineId, point.Id)] = [];
        await Assert.ThrowsAsync<PointGoneException>(() => lab.Repository.UndoAsync(point.MachineId, point.Id, Fixture.Token));
        await Assert.ThrowsAsync<PointGoneException>(() => lab.Repository.BeginReadAsync(point, Fixture.Token));
    }

    [Fact]
    public async Task DeletedDisk_GoesAndTheOtherStays()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpTwoDisksAsync("a", seed: 1);
        await lab.Repository.RetireAsync(point.MachineId, point.Id, "vdb", Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        var result = await lab.CollectAsync();
        Assert.True(result.DeletedBytes > 0);
        var left = Assert.Single(await lab.PointsAsync());
        Assert.Equal("vda", Assert.Single(left.Disks).Name);
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task RunUnderWay_IsWaitedForThenResumed()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 800_000, seed: 1);
        var second = await lab.BackUpAsync("a", 800_000, seed: 2);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        CollectResult waiting;
        await using (await lab.Repository.BeginRunAsync(second.MachineId, new BackupRunOptions { Bases = [second] }, Fixture.Token))
        {
            waiting = await lab.CollectAsync();
            Assert.Equal(second.MachineId.Value, Assert.Single(waiting.WaitingFor).Machine);
            Assert.Equal(0L, waiting.DeletedBytes);
        }

        var resumed = await lab.CollectAsync();
        Assert.Equal(waiting.Epoch, resumed.Epoch);
        Assert.True(resumed.DeletedBytes > 0);
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task SilentRun_IsRevokedAndCanNotCommit()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 800_000, seed: 1);
        var second = await lab.BackUpAsync("a", 800_000, seed: 2);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        var options = new BackupRunOptions { Bases = [second] };
        await using var run = await lab.Repository.BeginRunAsync(second.MachineId, options, Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", lab.ContentOf(second), second.Disk("vda").Tree, []);
        lab.Store.Now += TimeSpan.FromHours(25);
        var result = await lab.CollectAsync();
        Assert.Equal(1, result.Revoked);
        Assert.True(result.DeletedBytes > 0);
        await Assert.ThrowsAsync<RunRevokedException>(() => run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token));
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task Reader_IsNotWaitedForAndKeepsWhatItReads()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 800_000, seed: 1);
        await lab.BackUpAsync("a", 800_000, seed: 2);
        await using var reading = await lab.Repository.BeginReadAsync(point, Fixture.Token);
        await lab.Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        lab.Store.Objects[ObjectNames.Expire(point.MachineId, point.Id)] = [];
        await lab.CollectAsync();
        await using var disk = reading.OpenDisk("vda");
        var content = new byte[disk.Size];
        await disk.ReadAsync(0, content, Fixture.Token);
        Assert.True(lab.ContentOf(point).AsSpan().SequenceEqual(content));
    }

    /// <summary>A point is deleted for good, and collected, while it is verified: that is no damage, and nothing is quarantined.</summary>
    [Fact]
    public async Task VerificationBesideACollection_KeepsWhatItReads()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 800_000, seed: 1);
        await lab.BackUpAsync("a", 800_000, seed: 2);
        var packs = lab.PackBytes;
        lab.OnRead(ObjectNames.Index, 1, () => lab.DeleteNowAsync(point));
        using (var verifying = await Fixture.OpenAsync(lab.Store, encrypted: false, writer: 2))
        {
            var found = await verifying.VerifyAsync(
                new VerifyOptions { Level = VerifyLevel.Data, Quarantine = true }, null, Fixture.Token);
            Assert.True(found.IsSound, string.Join(' ', found.Damaged.Select(damage => damage.Problem)));
            Assert.Equal(2, found.Points);
        }

        Assert.DoesNotContain(lab.Store.Objects.Keys, key => key.StartsWith("bad/", StringComparison.Ordinal));
        Assert.Single(await lab.PointsAsync());
        await lab.CollectAsync();
        Assert.True(lab.PackBytes < packs * 6 / 10, "What was verified is kept after the verification.");
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task PackCollectedBeforeItsTurn_IsNoDamage()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 800_000, seed: 1);
        await lab.BackUpAsync("b", 800_000, seed: 2);
        var pack = lab.Store.Objects.Keys.Single(key => key.Contains($"/{point.Id}/d-", StringComparison.Ordinal));
        lab.OnRead(pack, 2, () => lab.DeleteNowAsync(point)); // once for its hash, then for its blobs
        var options = new VerifyOptions { Level = VerifyLevel.Data, Budget = VerifyBudget.OfPercent(100), Quarantine = true };
        var found = await lab.Repository.VerifyAsync(options, null, Fixture.Token);
        Assert.True(found.IsSound, string.Join(' ', found.Damaged.Select(damage => damage.Problem)));
        Assert.DoesNotContain(lab.Store.Objects.Keys, key => key.StartsWith("bad/", StringComparison.Ordinal));
        Assert.DoesNotContain(lab.Store.Objects.Keys, key => key.StartsWith("packs/", StringComparison.Ordinal)
            && key.Contains(point.Id.ToString(), StringComparison.Ordinal));
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task ReaderOfWhatMoved_FindsItInTheNewIndex()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 2_000_000, seed: 1);
        var content = lab.ContentOf(first).ToArray();
        new Random(2).NextBytes(content.AsSpan(0, 1_500_000));
        var second = await lab.BackUpContentAsync("a", content, first, changed: null);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        using var blobs = new BlobReader(lab.Repository.Context);
        await blobs.IndexAsync(Fixture.Token); // before anything moves
        lab.Store.Now += TimeSpan.FromHours(25);
        Assert.Contains((await lab.CollectAsync()).Packs, pack => pack.Why == "moved");
        var trees = new TreeReader(blobs);
        var tree = second.Disk("vda").Tree;
        var chunk = new byte[tree.Shape.ChunkSize];
        for (long number = 0; number < tree.Shape.ChunkCount; number++)
        {
            var (leaf, _) = await trees.LeafAsync(tree, number, Fixture.Token);
            var slot = (int)(number % TreeShape.FanOut);
            if (!leaf!.Has(slot))
                continue;
            await blobs.ReadChunkAsync(leaf.Id(slot), leaf.Location(slot), chunk, Fixture.Token);
            var length = tree.Shape.LengthOf(number);
            Assert.True(content.AsSpan((int)number << tree.ChunkLog2, length).SequenceEqual(chunk.AsSpan(0, length)));
        }
    }

    [Fact]
    public async Task OrphansOfADeadRun_GoAndThoseOfALiveOneStay()
    {
        var lab = await CollectorLab.CreateAsync();
        await lab.BackUpAsync("a", 500_000, seed: 1);
        await lab.CollectAsync();
        CollectResult waiting;
        await using (var live = await lab.Repository.BeginRunAsync(new MachineId("b"), new BackupRunOptions(), Fixture.Token))
        {
            await lab.WritePackAsync(live, seed: 7);
            await using (var dead = await lab.Repository.BeginRunAsync(new MachineId("c"), new BackupRunOptions(), Fixture.Token))
                await lab.WritePackAsync(dead, seed: 8);
            waiting = await lab.CollectAsync();
            Assert.Equal("b", Assert.Single(waiting.WaitingFor).Machine); // the dead run's packs are condemned meanwhile
        }

        var result = await lab.CollectAsync();
        Assert.Equal((waiting.Epoch + 1, 2), (result.Epoch, result.EpochsFinished)); // then those of the other, which had ended
        Assert.Equal(2, result.Packs.Count);
        Assert.All(result.Packs, pack => Assert.Equal("orphan", pack.Why));
        await lab.AssertAllHoldAsync();
    }
}
