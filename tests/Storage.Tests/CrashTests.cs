// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

public sealed class CrashTests
{
    /// <summary>The store freezes at the N-th write of a run, before it or right after it took effect, for every N.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task CrashAtEveryWrite_LeavesASoundRepository(bool afterEffect)
    {
        var clean = new MemoryStore();
        using var repository = await Fixture.InitAsync(clean);
        var random = new Random(4);
        var before = Fixture.Content(random, 700_000);
        await Fixture.BackUpAsync(repository, before);
        var after = before.ToArray();
        random.NextBytes(after.AsSpan(100_000, 300_000));
        var committed = 0;
        var n = 1;
        for (; ; n++)
        {
            var store = new MemoryStore(clean.Objects);
            var isDone = await TryBackUpAsync(store, after, n, afterEffect);
            committed += await AssertSoundAsync(store, before, after) ? 1 : 0;
            if (isDone)
                break;
        }

        Assert.True(n > 5, $"Only {n} writes were tried.");
        Assert.Equal(afterEffect ? 2 : 1, committed);
    }

    [Fact]
    public async Task AnswerToCommitLost_FindsItsOwnPoint()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var lost = 0;
        store.AfterWrite = (_, key) =>
        {
            if (key.StartsWith("points/", StringComparison.Ordinal) && lost++ == 0)
                throw new StoreException("The answer was lost.", isTransient: true);
        };
        var point = await Fixture.BackUpAsync(repository, [1, 2, 3]);
        Assert.Equal(2, lost);
        Assert.Equal(RunEnd.Committed, await repository.FenceAsync(Fixture.Machine, point.Id, Fixture.Token));
    }

    [Fact]
    public async Task StoreSilentAtCommit_IsUnknownAndSettledByTheFence()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        store.BeforeWrite = (_, key) =>
        {
            if (key.StartsWith("points/", StringComparison.Ordinal))
                throw new StoreException("No answer.", isTransient: true);
        };
        var id = RunId.New();
        var options = new BackupRunOptions { Id = id };
        await Assert.ThrowsAsync<CommitUnknownException>(() => Fixture.BackUpAsync(repository, [1, 2, 3], options: options));
        store.BeforeWrite = null;
        Assert.Equal(RunEnd.Revoked, await RunFence.FenceAsync(store, Fixture.Machine, id, Fixture.Token));
        Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
    }

    private static async Task<bool> TryBackUpAsync(MemoryStore store, byte[] content, int crashAt, bool afterEffect)
    {
        using var repository = await Fixture.OpenAsync(store);
        var origin = (await repository.ListPointsAsync(null, Fixture.Token)).Points[0];
        void Crash(int number, string key)
        {
            if (number >= crashAt)
                throw new StoreException("The power went.", isTransient: false);
        }

        store.BeforeWrite = (number, key) => Crash(afterEffect ? number - 1 : number, key);
        store.AfterWrite = (number, key) => Crash(afterEffect ? number : 0, key);
        try
        {
            await Fixture.BackUpAsync(repository, content, origin, options: new BackupRunOptions { Workers = 1 });
            return true;
        }
        catch (Exception crash) when (crash is StoreException or CommitUnknownException)
        {
            return false;
        }
        finally
        {
            (store.BeforeWrite, store.AfterWrite) = (null, null);
        }
    }

    private static async Task<bool> AssertSoundAsync(MemoryStore store, byte[] before, byte[] after)
    {
        using var repository = await Fixture.OpenAsync(store);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        var points = (await repository.ListPointsAsync(null, Fixture.Token)).Points;
        await Fixture.AssertHoldsAsync(repository, points[^1].Disk("vda"), before);
        if (points.Count == 2)
            await Fixture.AssertHoldsAsync(repository, points[0].Disk("vda"), after);
        var next = await Fixture.BackUpAsync(repository, after, points[0]);
        await Fixture.AssertHoldsAsync(repository, next.Disk("vda"), after);
        Assert.Equal(points.Count + 1, next.Seq);
        return points.Count == 2;
    }
}
