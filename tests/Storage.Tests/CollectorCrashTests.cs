// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>Collectors that die anywhere, and several at once beside writers.</summary>
public sealed class CollectorCrashTests
{
    /// <summary>The collector's store freezes at the N-th change, before it or right after it took effect, for every N; another
    /// collector goes on from there.</summary>
    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 1)]
    [InlineData(true, 3)]
    [InlineData(true, 1000)]
    public async Task CrashAtEveryChange_LosesNothingAndTheNextOneFinishes(bool afterEffect, int deleteBatch)
    {
        var clean = await ScenarioAsync(deleteBatch);
        var expected = (await clean.PointsAsync()).Count;
        var n = 1;
        for (var isDone = false; !isDone; n++)
        {
            var lab = await clean.CopyAsync();
            isDone = await TryCollectAsync(lab, n, afterEffect);
            await lab.AssertAllHoldAsync();
            lab.Store.Now += TimeSpan.FromHours(7); // the dead collector's packs are garbage by then
            await lab.CollectAsync();
            await lab.AssertAllHoldAsync();
            Assert.Equal(expected, (await lab.PointsAsync()).Count);
            Assert.False(lab.Store.Objects.Keys.Any(IsOpenEpoch(lab)), $"An epoch is open after a crash at change {n}.");
            var next = await lab.BackUpContentAsync("a", lab.ContentOf((await lab.PointsAsync())[0]), null, null);
            await lab.AssertAllHoldAsync();
            Assert.Equal(0, next.Disk("vda").StoredBytes); // the index still knows everything that lives
        }

        Assert.True(n > 20, $"Only {n} changes were tried.");
    }

    [Fact]
    public async Task ManyDeletions_AreFewRequests_EachOfOneKind()
    {
        var lab = await CollectorLab.CreateAsync(deleteBatch: 1000);
        for (var number = 0; number < 6; number++)
            await lab.BackUpAsync("a", 300_000, seed: number);
        await lab.RetireAllAsync();
        lab.Store.Now += TimeSpan.FromHours(25);
        var result = await lab.CollectAsync();
        Assert.Equal(12, result.Packs.Count);
        var batches = lab.Store.Batches.ToList();
        Assert.All(batches, batch => Assert.Single(batch.Select(key => key[..key.IndexOf('/', StringComparison.Ordinal)]).Distinct()));
        Assert.Equal(12, Assert.Single(batches, batch => batch[0].StartsWith("packs/", StringComparison.Ordinal)).Count);
        var order = batches.Select(batch => batch[0][..batch[0].IndexOf('/', StringComparison.Ordinal)]).ToList();
        Assert.True(order.IndexOf("index") < order.IndexOf("packs") && order.IndexOf("packs") < order.IndexOf("points"), $"I15: {order}");
        Assert.Empty(await lab.PointsAsync());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task CollectorsBesideWriters_LoseNothing(int seed)
    {
        var lab = await ScenarioAsync();
        var random = new Random(seed);
        var seeds = Enumerable.Range(0, 8).Select(_ => random.Next()).ToArray();
        var writers = Enumerable.Range(0, 3).Select(writer => Task.Run(() => WriteAsync(lab, writer, seeds[writer]), Fixture.Token));
        var collectors = Enumerable.Range(0, 2).Select(_ => Task.Run(
            async () =>
            {
                using var repository = await Fixture.OpenAsync(lab.Store, encrypted: false, writer: 9);
                for (var call = 0; call < 12; call++)
                {
                    await repository.CollectAsync(
                        new CollectOptions { MaxDeletePercent = 100, UndoWindow = TimeSpan.Zero }, null, Fixture.Token);
                    await Task.Delay(5, Fixture.Token);
                }
            },
            Fixture.Token));
        await Task.WhenAll([.. writers, .. collectors]);
        await lab.AssertAllHoldAsync();
        await lab.CollectAsync(new CollectOptions { MaxDeletePercent = 100, UndoWindow = TimeSpan.Zero });
        await lab.AssertAllHoldAsync();
    }

    // Points of two machines that share much, some deleted, one sparse pack, a dead run's leavings.
    private static async Task<CollectorLab> ScenarioAsync(int deleteBatch = 1)
    {
        var lab = await CollectorLab.CreateAsync(deleteBatch);
        var first = await lab.BackUpAsync("a", 1_200_000, seed: 1);
        var content = lab.ContentOf(first).ToArray();
        new Random(2).NextBytes(content.AsSpan(0, 900_000));
        var second = await lab.BackUpContentAsync("a", content, first, null);
        await lab.BackUpContentAsync("b", content, null, null);
        var dead = await lab.BackUpAsync("b", 400_000, seed: 3);
        await using (var run = await lab.Repository.BeginRunAsync(new MachineId("c"), new BackupRunOptions(), Fixture.Token))
            await lab.WritePackAsync(run, seed: 4);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        await lab.Repository.RetireAsync(dead.MachineId, dead.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        Assert.NotEqual(first.Id, second.Id);
        return lab;
    }

    private static async Task WriteAsync(CollectorLab lab, int writer, int seed)
    {
        using var repository = await Fixture.OpenAsync(lab.Store, encrypted: false, writer: (ulong)writer + 1);
        var random = new Random(seed);
        var machine = new MachineId($"w{writer}");
        for (var round = 0; round < 8; round++)
        {
            var points = (await repository.ListPointsAsync(machine, Fixture.Token)).Points;
            var origin = points.Count > 0 && random.Next(3) > 0 ? points[0] : null;
            var content = origin is null ? new byte[500_000] : lab.ContentOf(origin).ToArray();
            new Random(random.Next(4)).NextBytes(content.AsSpan(0, origin is null ? content.Length : 100_000)); // shared by all writers
            try
            {
                await lab.BackUpContentAsync(machine.Value, content, origin, null, repository);
            }
            catch (BaseUnusableException)
            {
                continue;
            }

            if (points.Count > 1)
                await repository.RetireAsync(machine, points[random.Next(points.Count)].Id, null, Fixture.Token);
        }
    }

    private static async Task<bool> TryCollectAsync(CollectorLab lab, int crashAt, bool afterEffect)
    {
        using var repository = await Fixture.OpenAsync(lab.Store, encrypted: false);
        var number = 0;
        void Crash(int count)
        {
            if (count >= crashAt)
                throw new StoreException("The power went.", isTransient: false);
        }

        lab.Store.BeforeWrite = (_, _) => Crash(afterEffect ? Volatile.Read(ref number) : Interlocked.Increment(ref number));
        lab.Store.AfterWrite = (_, _) => Crash(afterEffect ? Interlocked.Increment(ref number) : 0);
        try
        {
            await repository.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
            return true;
        }
        catch (StoreException)
        {
            return false;
        }
        finally
        {
            (lab.Store.BeforeWrite, lab.Store.AfterWrite) = (null, null);
        }
    }

    private static Func<string, bool> IsOpenEpoch(CollectorLab lab) => key =>
        key.EndsWith("/condemn", StringComparison.Ordinal) && !lab.Store.Objects.ContainsKey(key[..^"condemn".Length] + "done");
}
