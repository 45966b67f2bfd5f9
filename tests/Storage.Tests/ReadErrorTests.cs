// SPDX-License-Identifier: Apache-2.0
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>EIO on any read: never a wrong byte, never a healthy pack in quarantine (I20), and a later call works.</summary>
public sealed class ReadErrorTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-eio-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>The N-th look, listing or read of an operation fails, for every N.</summary>
    [Theory]
    [InlineData("list")]
    [InlineData("restore")]
    [InlineData("verify quick")]
    [InlineData("verify packs")]
    [InlineData("verify data")]
    [InlineData("verify data 100%")]
    [InlineData("collect")]
    [InlineData("back up")]
    [InlineData("back up another machine")]
    public async Task EveryReadFails_NothingIsWrongAndTheObjectIsNamed(string operation)
    {
        var made = await MakeAsync();
        var (failed, told) = (0, 0);
        for (var n = 1; ; n++)
        {
            var lab = await made.CopyAsync();
            var (reads, bad) = (0, "");
            var faults = new FaultStore(lab.Store, new Random(1), 0)
            {
                Fault = (verb, key) =>
                {
                    if (verb is not ("read" or "head" or "list") || Interlocked.Increment(ref reads) != n)
                        return null;
                    bad = key;
                    return new StoreException($"Could not {verb} '{key}' in 'memory': Input/output error.", isTransient: false);
                },
            };
            try
            {
                using var repository = await Fixture.OpenAsync(faults, encrypted: false, writer: 2);
                var unread = await DoAsync(operation, repository, lab);
                Assert.All(unread, key => Assert.Equal(bad, key));
                told += unread.Count;
            }
            catch (Exception failure) when (failure is StoreException or CommitUnknownException)
            {
                failed++;
                Assert.True(failure.Message.Contains($"'{bad}'", StringComparison.Ordinal), $"'{bad}': {failure.Message}");
            }

            if (reads < n)
                break;
            Assert.DoesNotContain(lab.Store.Objects.Keys, key => key.StartsWith("bad/", StringComparison.Ordinal));
            await lab.AssertAllHoldAsync();
            using var later = await Fixture.OpenAsync(lab.Store, encrypted: false, writer: 2);
            Assert.Empty(await DoAsync(operation, later, lab));
        }

        Assert.True(failed >= 3, $"Only {failed} reads were tried.");
        Assert.True(told >= (operation.StartsWith("verify", StringComparison.Ordinal) ? 2 : 0), $"{told} objects were told.");
    }

    [Fact]
    public async Task PackOnABadSector_IsReadFromAnotherCopy_AndIsNoDamageWithoutOne()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 900_000, seed: 1);
        var pack = lab.Store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal));
        lab.Store.BeforeRead = key =>
        {
            if (key == pack)
                throw new StoreException($"Could not read '{key}' in 'memory': Input/output error.", isTransient: false);
        };
        using (var repository = await Fixture.OpenAsync(lab.Store, encrypted: false))
        {
            foreach (var read in new[] { Fixture.ReadAsync, Fixture.ReadPlannedAsync })
            {
                var failure = await Assert.ThrowsAsync<StoreException>(() => read(repository, first.Disk("vda")));
                Assert.Contains(pack, failure.Message, StringComparison.Ordinal);
            }
        }

        using var other = await Fixture.OpenAsync(lab.Store, encrypted: false, writer: 2); // can't check the first one's, so stores again
        await Assert.ThrowsAsync<StoreException>(() => lab.BackUpContentAsync("b", lab.ContentOf(first), null, null, other));
        lab.Store.BeforeRead = null;
        var index = lab.Store.Objects.Keys.Single(key => key.StartsWith("index/", StringComparison.Ordinal));
        lab.Store.Objects.TryRemove(index, out var kept);
        await lab.BackUpContentAsync("b", lab.ContentOf(first), null, null, other);
        lab.Store.Objects[index] = kept!;
        lab.Store.BeforeRead = key =>
        {
            if (key == pack)
                throw new StoreException($"Could not read '{key}' in 'memory': Input/output error.", isTransient: false);
        };
        using var later = await Fixture.OpenAsync(lab.Store, encrypted: false);
        await Fixture.AssertHoldsAsync(later, first.Disk("vda"), lab.ContentOf(first));
    }

    [Fact]
    public async Task OnePointOnABadSector_LeavesTheOthersListedAndRestored()
    {
        var made = await MakeAsync();
        var points = await made.PointsAsync();
        var bad = ObjectNames.Point(points[0].MachineId, points[0].Id);
        made.Store.BeforeRead = key =>
        {
            if (key == bad)
                throw new StoreException($"Could not read '{key}' in 'memory': Input/output error.", isTransient: false);
        };
        using var repository = await Fixture.OpenAsync(made.Store, encrypted: false);
        var listing = await repository.ListReadablePointsAsync(null, Fixture.Token);
        Assert.Equal(bad, Assert.Single(listing.Unread).Key);
        Assert.Empty(listing.Damaged);
        Assert.Equal(points.Skip(1).Select(point => point.Id), listing.Points.Select(point => point.Id));
        foreach (var point in listing.Points)
            await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), made.ContentOf(point));
        await Assert.ThrowsAsync<StoreException>(() => repository.ListPointsAsync(null, Fixture.Token));
        foreach (var level in Enum.GetValues<VerifyLevel>())
        {
            var found = await repository.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
            Assert.Equal(bad, Assert.Single(found.Unread).Key);
            Assert.Empty(found.Damaged);
        }
    }

    /// <summary>Neither hides the other: the store fails on one object for good, and a pack is not what it was.</summary>
    [Theory]
    [InlineData(VerifyLevel.Quick, null)]
    [InlineData(VerifyLevel.Packs, null)]
    [InlineData(VerifyLevel.Data, null)]
    [InlineData(VerifyLevel.Data, 100)]
    public async Task DamagedPackBesideAnyUnreadableObject_IsToldAndAloneQuarantined(VerifyLevel level, int? percent)
    {
        var made = await MakeAsync();
        var newest = (await made.PointsAsync())[0];
        var ofNewest = $"/{newest.Id}/d-";
        var pack = made.Store.Objects.Keys.Single(key => key.Contains(ofNewest, StringComparison.Ordinal));
        var its = newest.Index[0].Key;
        var told = 0;
        foreach (var bad in made.Store.Objects.Keys.Where(key => key != pack && key != "config").Order(StringComparer.Ordinal))
        {
            var lab = await made.CopyAsync();
            var bytes = lab.Store.Objects[pack];
            lab.Store.Objects[pack] = level == VerifyLevel.Quick
                ? bytes[..(bytes.Length / 2)] : [.. bytes[..70], (byte)~bytes[70], .. bytes[71..]];
            lab.Store.BeforeRead = key =>
            {
                if (key == bad)
                    throw new StoreException($"Could not read '{key}' in 'memory': Input/output error.", isTransient: false);
            };
            using var repository = await Fixture.OpenAsync(lab.Store, encrypted: false);
            var options = new VerifyOptions
            {
                Level = level,
                Budget = percent is null ? null : VerifyBudget.OfPercent(percent.Value),
                Quarantine = true,
            };
            var found = await repository.VerifyAsync(options, null, Fixture.Token);
            Assert.All(found.Unread, item => Assert.Equal(bad, item.Key));
            told += found.Unread.Count;
            Assert.All(lab.Store.Objects.Keys.Where(key => key.StartsWith("bad/", StringComparison.Ordinal)), key =>
                Assert.Equal(pack, ObjectNames.PackOfQuarantine(key)));
            var tellsOfIt = level == VerifyLevel.Quick ? its // how large the pack was
                : level == VerifyLevel.Data && percent is null ? $"/{newest.Id}/m-" : null; // what lies below its nodes
            if (tellsOfIt is not null && bad.Contains(tellsOfIt, StringComparison.Ordinal))
                continue;
            Assert.Equal(pack, Assert.Single(found.Damaged).Key);
            Assert.Equal([pack], found.Quarantined);
            Assert.True(bad.StartsWith("packs/", StringComparison.Ordinal) || bad == its || found.Damaged[0].Affected.Count > 0, bad);
        }

        Assert.True(told >= 5, $"{told} objects were told.");
    }

    /// <summary>A real file system whose medium fails: all reads, or some, in every operation, with nothing in memory.</summary>
    [Theory]
    [InlineData("100%")]
    [InlineData("20%")]
    public async Task MediumThatFails_LosesNothingAndWorksAgain(string rate)
    {
        await using var disk = await FailingDisk.TryMountAsync(_folder, rate);
        Assert.SkipWhen(disk is null, "no disk that fails can be made here: it needs root, FUSE and loop devices");
        var root = Path.Combine(disk!.Path, "repository");
        var contents = new[] { Fixture.Content(new Random(51), 3_000_000), Fixture.Content(new Random(52), 3_000_000) };
        var made = new List<RestorePoint>();
        await using (var store = new FolderStore(root))
        {
            using var repository = await Fixture.InitAsync(store);
            foreach (var content in contents)
                made.Add(await Fixture.BackUpAsync(repository, content));
        }

        var failures = 0;
        string[] operations = ["list", "restore", "verify quick", "verify packs", "verify data", "collect", "back up"];
        foreach (var operation in operations)
        {
            await disk.DropCachesAsync();
            disk.Fails = true;
            failures += await FailsAsync(root, operation, made, contents) ? 1 : 0;
            disk.Fails = false;
        }

        Assert.True(rate == "20%" || failures == operations.Length, $"{failures} operations failed.");
        await disk.DropCachesAsync();
        await using var after = new FolderStore(root);
        using var sound = await Fixture.OpenAsync(after);
        Assert.False(Directory.Exists(Path.Combine(root, "bad")));
        var points = (await sound.ListPointsAsync(null, Fixture.Token)).Points;
        foreach (var (point, content) in made.Zip(contents))
            await Fixture.AssertHoldsAsync(sound, points.Single(found => found.Id == point.Id).Disk("vda"), content);
        Assert.True((await sound.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        var next = await Fixture.BackUpAsync(sound, contents[0], points[0]);
        await Fixture.AssertHoldsAsync(sound, next.Disk("vda"), contents[0]);
    }

    private static async Task<bool> FailsAsync(string root, string operation, IReadOnlyList<RestorePoint> made, byte[][] contents)
    {
        try
        {
            await using var store = new FolderStore(root);
            using var repository = await Fixture.OpenAsync(store);
            switch (operation)
            {
                case "list":
                    Assert.Equal(2, (await repository.ListPointsAsync(null, Fixture.Token)).Points.Count);
                    return false;
                case "restore":
                    foreach (var (point, content) in made.Zip(contents))
                        Assert.Equal(content, await Fixture.ReadPlannedAsync(repository, point.Disk("vda")));
                    return false;
                case "collect":
                    await repository.CollectAsync(new CollectOptions(), null, Fixture.Token);
                    return false;
                case "back up":
                    await Fixture.BackUpAsync(repository, contents[1], made[1]);
                    return false;
                default:
                    var level = Enum.Parse<VerifyLevel>(operation.Split(' ')[1], ignoreCase: true);
                    var found = await repository.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
                    Assert.Empty(found.Damaged);
                    return found.Unread.Count > 0;
            }
        }
        catch (Exception failure) when (failure is StoreException or CommitUnknownException)
        {
            Assert.Contains("Input/output error", failure.Message, StringComparison.Ordinal);
            return true;
        }
    }

    // Two machines that share content, a point that was deleted, and another writer's packs for writer 2.
    private static async Task<CollectorLab> MakeAsync()
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 600_000, seed: 1);
        var changed = lab.ContentOf(first).ToArray();
        new Random(2).NextBytes(changed.AsSpan(0, 400_000));
        var second = await lab.BackUpContentAsync("a", changed, first, [0, 1, 2, 3, 4, 5, 6]);
        await lab.BackUpContentAsync("b", changed, null, null);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        Assert.NotNull(second);
        return lab;
    }

    // Returns the keys of what is told as unread.
    private static async Task<IReadOnlyList<string>> DoAsync(string operation, Repository repository, CollectorLab lab)
    {
        switch (operation)
        {
            case "list":
                return [.. (await repository.ListReadablePointsAsync(null, Fixture.Token)).Unread.Select(point => point.Key)];
            case "restore":
                foreach (var point in (await repository.ListPointsAsync(null, Fixture.Token)).Points)
                {
                    await using var reading = await repository.BeginReadAsync(point, Fixture.Token);
                    Assert.Equal(lab.ContentOf(point), await Fixture.ReadPlannedAsync(repository, point.Disk("vda")));
                }

                return [];
            case "collect":
                await repository.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
                return [];
            case "back up":
            case "back up another machine":
                var newest = (await repository.ListPointsAsync(new MachineId("a"), Fixture.Token)).Points[0];
                var content = lab.ContentOf(newest).ToArray();
                new Random(3).NextBytes(content.AsSpan(0, 100_000));
                var isOther = operation != "back up";
                await lab.BackUpContentAsync(
                    isOther ? "c" : "a", content, isOther ? null : newest, isOther ? null : [0, 1], repository);
                return [];
            default:
                var options = new VerifyOptions
                {
                    Level = Enum.Parse<VerifyLevel>(operation.Split(' ')[1], ignoreCase: true),
                    Budget = operation.EndsWith('%') ? VerifyBudget.OfPercent(100) : null,
                    Quarantine = true,
                };
                var found = await repository.VerifyAsync(options, null, Fixture.Token);
                Assert.Empty(found.Damaged);
                Assert.Equal(found.Unread.Count == 0, found.IsSound);
                return [.. found.Unread.Select(item => item.Key)];
        }
    }
}
