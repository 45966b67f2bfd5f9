// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>
/// Two hosts with one folder, each through a client that believes what it knows for longer than the test takes. Each backs up, deletes,
/// collects and restores.
/// </summary>
public sealed class TwoMountsTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-mounts-").FullName;
    private readonly ConcurrentDictionary<RunId, byte[]> _contents = [];
    private readonly ConcurrentDictionary<RunId, bool> _deleted = [];
    private readonly ConcurrentQueue<string> _said = [];
    private readonly List<CachingMount> _mounts = [];

    private string Root => Path.Combine(_folder, "repository");

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Root);
        for (var number = 0; number < 2; number++)
        {
            var mount = await CachingMount.TryMountAsync(Root, Path.Combine(_folder, $"mount{number}"), 60);
            Assert.SkipWhen(mount is null, "no folder can be mounted here: it needs root and FUSE");
            _mounts.Add(mount!);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var mount in _mounts)
            await mount.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Init_ThroughACachingMount_PassesItsProbe()
    {
        await using var first = new FolderStore(_mounts[0].Path);
        using var made = await Fixture.InitAsync(first);
        await using var second = new FolderStore(_mounts[1].Path);
        await Assert.ThrowsAsync<RepositoryExistsException>(() => Fixture.InitAsync(second));
        await second.ProbeAsync(Fixture.Token);
        using var opened = await Fixture.OpenAsync(second);
        Assert.Empty((await opened.ListPointsAsync(null, Fixture.Token)).Points);
    }

    /// <summary>What is not there for one host, because it has just asked, is there when it tries to create it.</summary>
    [Fact]
    public async Task RunEndedByBothHosts_HasOneEnd()
    {
        await using var first = new FolderStore(_mounts[0].Path);
        await using var second = new FolderStore(_mounts[1].Path);
        for (var round = 0; round < 20; round++)
        {
            var key = $"points/m/{RunId.New()}";
            Assert.Null(await first.HeadAsync(key, Fixture.Token));
            Assert.Null(await second.HeadAsync(key, Fixture.Token));
            Assert.True(await first.PutIfAbsentAsync(key, new byte[] { 1 }, Fixture.Token));
            Assert.False(await second.PutIfAbsentAsync(key, new byte[] { 2, 2 }, Fixture.Token));
            Assert.Equal(1, (await second.HeadAsync(key, Fixture.Token))?.Size);
            var found = new byte[3];
            Assert.Equal(1, await second.ReadAsync(key, 0, found, Fixture.Token));
            Assert.Equal(1, found[0]);
            await first.DeleteAsync(key, Fixture.Token);
            Assert.Null(await second.HeadAsync(key, Fixture.Token));
            await Assert.ThrowsAsync<ObjectMissingException>(() => second.ReadAsync(key, 0, found, Fixture.Token).AsTask());
        }
    }

    /// <param name="atOnce">Both hosts at the same time, or in turns.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TwoHosts_LoseNothing(bool atOnce)
    {
        var seed = Seed.Choose(61);
        await using (var store = new FolderStore(Root))
        {
            using var made = await Fixture.InitAsync(store);
        }

        if (atOnce)
        {
            await Task.WhenAll(Enumerable.Range(0, 2).Select(host => Task.Run(() => ActAsync(host, new Random(seed + host), 25))));
        }
        else
        {
            var random = new Random(seed);
            for (var turn = 0; turn < 25; turn++)
                await ActAsync(random.Next(2), random, 2);
        }

        foreach (var mount in _mounts)
            await mount.DisposeAsync();
        _mounts.Clear();
        await using var direct = new FolderStore(Root);
        using var repository = await Fixture.OpenAsync(direct);
        var listing = await repository.ListPointsAsync(null, Fixture.Token);
        Assert.Empty(listing.Damaged);
        var expected = _contents.Keys.Except(_deleted.Keys).Select(run => run.ToString()).Order(StringComparer.Ordinal);
        Assert.Equal(expected, listing.Points.Select(point => point.Id.ToString()).Order(StringComparer.Ordinal));
        Assert.True(listing.Points.Count > 5, $"Only {listing.Points.Count} points, seed {seed}: {string.Join(' ', _said)}");
        foreach (var point in listing.Points)
            await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), _contents[point.Id]);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        Assert.False(Directory.Exists(Path.Combine(Root, "bad")));
        Assert.NotEmpty(Directory.GetFiles(Path.Combine(Root, "gc"), "done", SearchOption.AllDirectories));
        foreach (var text in _said)
            TestContext.Current.SendDiagnosticMessage(text);
    }

    private async Task ActAsync(int host, Random random, int steps)
    {
        await using var store = new FolderStore(_mounts[host].Path);
        using var repository = await Fixture.OpenAsync(store, writer: (ulong)host + 1);
        for (var step = 0; step < steps; step++)
        {
            try
            {
                await StepAsync(repository, host, random);
            }
            catch (Exception failure) when (
                failure is StoreException or RunRevokedException or BaseUnusableException or PointGoneException)
            {
                _said.Enqueue(failure.Message); // an error is what a view that is old may cost
            }
        }
    }

    private async Task StepAsync(Repository repository, int host, Random random)
    {
        var points = (await repository.ListPointsAsync(null, Fixture.Token)).Points;
        var some = points.Count == 0 ? null : points[random.Next(points.Count)];
        switch (random.Next(8))
        {
            case 0 when some is not null && points.Count > 6:
                _deleted[some.Id] = true;
                await repository.RetireAsync(some.MachineId, some.Id, null, Fixture.Token);
                break;
            case 1:
            case 2:
                var everything = new CollectOptions { UndoWindow = TimeSpan.Zero, MaxDeletePercent = 100 };
                await repository.CollectAsync(everything, null, Fixture.Token);
                break;
            case 3 when some is not null:
                await using (var reading = await repository.BeginReadAsync(some, Fixture.Token))
                    Assert.Equal(_contents[some.Id], await Fixture.ReadPlannedAsync(repository, some.Disk("vda")));
                break;
            case 4:
                var found = await repository.VerifyAsync(
                    new VerifyOptions { Level = VerifyLevel.Data, Quarantine = true }, null, Fixture.Token);
                Assert.True(found.Damaged.Count == 0, string.Join(' ', found.Damaged.Select(damage => damage.Problem)));
                break;
            default:
                await BackUpAsync(repository, new MachineId($"host{host}"), points, random);
                break;
        }
    }

    // Now and then with the bytes that the other host has, so that its packs are used.
    private async Task BackUpAsync(Repository repository, MachineId machine, IReadOnlyList<RestorePoint> points, Random random)
    {
        var origin = points.FirstOrDefault(point => point.MachineId == machine);
        var like = points.Count > 0 && random.Next(2) == 0 ? points[random.Next(points.Count)] : origin;
        var content = like is null ? new byte[800_000] : _contents[like.Id].ToArray();
        random.NextBytes(content.AsSpan(random.Next(400_000), random.Next(300_000)));
        var options = new BackupRunOptions { Bases = origin is null ? [] : [origin], Workers = 1 };
        await using var run = await repository.BeginRunAsync(machine, options, Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", content, origin?.Disk("vda").Tree);
        _contents[run.Id] = content; // readers may see it before this returns
        try
        {
            await run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token);
        }
        catch
        {
            _contents.TryRemove(run.Id, out _);
            throw;
        }
    }
}
