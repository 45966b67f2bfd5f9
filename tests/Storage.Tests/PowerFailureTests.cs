// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>The power fails after the N-th durable step of a backup or a collection on a folder, for every N.</summary>
public sealed class PowerFailureTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-power-").FullName;
    private readonly byte[] _before = Fixture.Content(new Random(11), 700_000);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <param name="lucky">Whether some of what was not synced is there all the same.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task PowerFailsInABackup_NoPointLiesAndNoneReportedIsLost(bool lucky)
    {
        var template = Path.Combine(_folder, "template");
        await MakeAsync(template, retire: false);
        var after = _before.ToArray();
        new Random(12).NextBytes(after.AsSpan(200_000, 300_000));
        var (n, isOver, reported) = (0, false, 0);
        for (n = 1; !isOver; n++)
        {
            var (power, root, found) = Begin(template, n, lucky);
            var isReported = await TryAsync(root, power, async repository =>
            {
                var origin = (await repository.ListPointsAsync(null, Fixture.Token)).Points[0];
                await Fixture.BackUpAsync(repository, after, origin, options: new BackupRunOptions { Workers = 1 });
            });
            power.Restart(found);
            reported += isReported ? 1 : 0;
            await AssertBackedUpAsync(found, isReported, after, n);
            isOver = !power.HasFailed;
            Clean(root, found);
        }

        Assert.True(n > 30, $"Only {n} calls were tried.");
        Assert.True(reported > 0);
    }

    /// <summary>
    /// A host dies after the N-th step of a backup, another one backs up the same and uses what it finds, and then the power fails: what
    /// the first had not synced, nobody else did unless the second one does.
    /// </summary>
    [Fact]
    public async Task HostDiesAndThePowerFailsAfterAnotherUsedItsPacks_NothingReportedIsLost()
    {
        var template = Path.Combine(_folder, "template");
        await MakeAsync(template, retire: false);
        var content = Fixture.Content(new Random(13), 700_000);
        var (isOver, shared) = (false, 0);
        for (var n = 1; !isOver; n++)
        {
            var (power, root, found) = Begin(template, n, lucky: false);
            var options = new BackupRunOptions { Workers = 1 };
            await TryAsync(root, power, repository => Fixture.BackUpAsync(repository, content, options: options));
            isOver = !power.HasFailed;
            power.Revive();
            var isReported = await TryAsync(root, power, async repository =>
            {
                await using var run = await repository.BeginRunAsync(new MachineId("second"), SharingTests.Eager, Fixture.Token);
                var disk = await SharingTests.WriteAfterALookAsync(run, content);
                await run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token);
                shared += run.Adopted.Count;
            });
            Assert.True(isReported);
            power.Restart(found);
            await using (var store = new FolderStore(found))
            {
                using var repository = await Fixture.OpenAsync(store);
                var verified = await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
                Assert.True(verified.IsSound, $"After {n} calls: {string.Join("; ", verified.Damaged.Select(damage => damage.Problem))}");
                var point = Assert.Single((await repository.ListPointsAsync(new MachineId("second"), Fixture.Token)).Points);
                await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
            }

            Clean(root, found);
        }

        Assert.True(shared > 5, $"Only {shared} packs were shared.");
    }

    /// <param name="lucky">Whether some of what was not synced is there all the same.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task PowerFailsInACollection_NoPointIsLostAndTheNextOneFinishes(bool lucky)
    {
        var template = Path.Combine(_folder, "template");
        var kept = await MakeAsync(template, retire: true);
        var (n, isOver) = (0, false);
        for (n = 1; !isOver; n++)
        {
            var (power, root, found) = Begin(template, n, lucky);
            var packs = PacksIn(root);
            await TryAsync(root, power, repository => repository.CollectAsync(Everything, null, Fixture.Token));
            power.Restart(found);
            await AssertCollectedAsync(found, kept, packs, n);
            isOver = !power.HasFailed;
            Clean(root, found);
        }

        Assert.True(n > 60, $"Only {n} calls were tried.");
    }

    /// <summary>Were a name or bytes not synced, a reported point would be lost: the tests above would see it.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task MediumThatForgets_IsSeen(bool names, bool bytes)
    {
        var template = Path.Combine(_folder, "template");
        await MakeAsync(template, retire: false);
        var (_, root, found) = Begin(template, 0, lucky: false);
        var power = new PowerFailure(root, root + "-more", int.MaxValue, null) { ForgetsNames = names, ForgetsBytes = bytes };
        Assert.True(await TryAsync(root, power, repository => Fixture.BackUpAsync(repository, _before[..600_000])));
        power.Restart(found);
        await using var store = new FolderStore(found);
        using var repository = await Fixture.OpenAsync(store);
        var points = await repository.ListPointsAsync(null, Fixture.Token);
        Assert.Single(points.Points);
    }

    private static CollectOptions Everything => new() { UndoWindow = TimeSpan.Zero, MaxDeletePercent = 100 };

    // A repository with a point, or with one that was deleted and one that shares some of its chunks.
    private async Task<byte[]> MakeAsync(string path, bool retire)
    {
        await using var store = new FolderStore(path);
        using var repository = await Fixture.InitAsync(store);
        var first = await Fixture.BackUpAsync(repository, _before);
        if (!retire)
            return _before;
        var content = _before.ToArray();
        new Random(13).NextBytes(content.AsSpan(0, 450_000));
        await Fixture.BackUpAsync(repository, content, first);
        await repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        return content;
    }

    private (PowerFailure Power, string Root, string Found) Begin(string template, int calls, bool lucky)
    {
        var root = Path.Combine(_folder, $"root-{calls}");
        Copy(template, root);
        Directory.CreateDirectory(root + "-kept");
        Directory.CreateDirectory(root + "-more");
        return (new PowerFailure(root, root + "-kept", calls, lucky ? new Random(calls) : null), root, root + "-found");
    }

    private static async Task<bool> TryAsync(string root, PowerFailure power, Func<Repository, Task> work)
    {
        await using var store = new Unprobed(new FolderStore(root, power));
        try
        {
            using var repository = await Fixture.OpenAsync(store);
            await work(repository);
            return true;
        }
        catch (Exception failure) when (failure is StoreException or CommitUnknownException)
        {
            return false;
        }
    }

    private async Task AssertBackedUpAsync(string found, bool isReported, byte[] after, int calls)
    {
        await using var store = new FolderStore(found);
        using var repository = await Fixture.OpenAsync(store);
        var verified = await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
        Assert.True(verified.IsSound, $"After {calls} calls: {string.Join("; ", verified.Damaged.Select(damage => damage.Problem))}");
        var points = (await repository.ListPointsAsync(null, Fixture.Token)).Points;
        Assert.True(points.Count == 2 || (points.Count == 1 && !isReported), $"After {calls} calls there are {points.Count} points.");
        await Fixture.AssertHoldsAsync(repository, points[^1].Disk("vda"), _before);
        if (points.Count == 2)
            await Fixture.AssertHoldsAsync(repository, points[0].Disk("vda"), after);
        var next = await Fixture.BackUpAsync(repository, after, points[0]);
        await Fixture.AssertHoldsAsync(repository, next.Disk("vda"), after);
    }

    private static async Task AssertCollectedAsync(string found, byte[] kept, HashSet<string> packs, int calls)
    {
        await using var store = new Unprobed(new FolderStore(found));
        for (var round = 1; round <= 3; round++)
        {
            using var repository = await Fixture.OpenAsync(store);
            var verified = await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
            Assert.True(verified.IsSound, $"After {calls} calls: {string.Join("; ", verified.Damaged.Select(damage => damage.Problem))}");
            var point = Assert.Single((await repository.ListPointsAsync(null, Fixture.Token)).Points);
            await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), kept);
            await repository.CollectAsync(Everything, null, Fixture.Token);
        }

        var left = PacksIn(found).Count(packs.Contains);
        Assert.True(left < packs.Count, $"After {calls} calls all {left} packs are there at the end.");
    }

    private static HashSet<string> PacksIn(string folder) =>
        [.. Directory.GetFiles(Path.Combine(folder, "packs"), "*", SearchOption.AllDirectories).Select(Path.GetFileName).OfType<string>()];

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var folder in Directory.GetDirectories(from, "*", SearchOption.AllDirectories))
            Directory.CreateDirectory(Path.Combine(to, Path.GetRelativePath(from, folder)));
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
            File.Copy(file, Path.Combine(to, Path.GetRelativePath(from, file)));
    }

    private static void Clean(string root, string found)
    {
        Directory.Delete(root, recursive: true);
        Directory.Delete(root + "-kept", recursive: true);
        Directory.Delete(root + "-more", recursive: true);
        Directory.Delete(found, recursive: true);
    }
}
