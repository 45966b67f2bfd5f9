// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>What a collector refuses (I18), what stays gone (I16), and who is revoked.</summary>
public sealed class CollectorGuardTests
{
    [Fact]
    public async Task TooMuchAtOnce_IsRefusedBeforeAnythingIsCondemned()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 600_000, seed: 1);
        await lab.BackUpAsync("a", 600_000, seed: 2);
        await lab.Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        var refused = await Assert.ThrowsAsync<CollectionRefusedException>(() => lab.CollectAsync(new CollectOptions()));
        Assert.Contains("at most 20 %", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(lab.Store.Objects.Keys, key => key.EndsWith("/condemn", StringComparison.Ordinal));
        await lab.CollectAsync(new CollectOptions { MaxDeletePercent = 60 });
        await lab.AssertAllHoldAsync();
    }

    [Theory]
    [InlineData("missing")]
    [InlineData("empty")]
    [InlineData("other")]
    public async Task PointOfTheLastRoster_ThatIsNotAsItWas_StopsTheCollection(string what)
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 600_000, seed: 1);
        await lab.BackUpAsync("a", 600_000, seed: 2);
        await lab.CollectAsync();
        var key = ObjectNames.Point(point.MachineId, point.Id);
        lab.Store.Objects.TryRemove(key, out var content);
        if (what != "missing")
            lab.Store.Objects[key] = what == "empty" ? [] : Altered(lab, key, content!);
        var packs = lab.PackBytes;
        var failure = await Assert.ThrowsAsync<RepositoryDamagedException>(() => lab.CollectAsync());
        Assert.Equal(key, failure.DamagedObject);
        Assert.Equal(packs, lab.PackBytes);
        var verified = await lab.Repository.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token);
        Assert.Equal(key, Assert.Single(verified.Damaged).Key);
        lab.Store.Objects[key] = content!;
        await lab.CollectAsync();
        await lab.AssertAllHoldAsync();
    }

    [Theory]
    [InlineData("index/")]
    [InlineData("packs/")]
    public async Task SegmentOrNodesThatCanNotBeRead_StopTheCollection(string prefix)
    {
        var lab = await CollectorLab.CreateAsync();
        var first = await lab.BackUpAsync("a", 600_000, seed: 1);
        await lab.BackUpAsync("a", 600_000, seed: 2);
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        foreach (var key in lab.Store.Objects.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)
            && (prefix == "index/" || key.Contains("/m-", StringComparison.Ordinal))))
            lab.Store.Objects[key] = new byte[lab.Store.Objects[key].Length];
        var before = lab.Store.Objects.Keys.Count(key => key.StartsWith("packs/", StringComparison.Ordinal));
        await Assert.ThrowsAsync<RepositoryDamagedException>(() => lab.CollectAsync());
        Assert.Equal(before, lab.Store.Objects.Keys.Count(key => key.StartsWith("packs/", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task PointThatComesBackAfterItWasGone_DoesNotExist()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 600_000, seed: 1);
        var other = await lab.BackUpAsync("b", 600_000, seed: 2);
        var key = ObjectNames.Point(point.MachineId, point.Id);
        var segment = Assert.Single(point.Index).Key;
        var (late, lateSegment) = (lab.Store.Objects[key], lab.Store.Objects[segment]);
        await lab.Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        for (var call = 0; call < 3; call++)
        {
            lab.Store.Now += TimeSpan.FromHours(25);
            await lab.CollectAsync();
            await lab.BackUpAsync("b", 1000 + call, seed: call);
        }

        Assert.DoesNotContain(lab.Store.Objects.Keys, name => name.Contains(point.Id.ToString(), StringComparison.Ordinal));
        (lab.Store.Objects[key], lab.Store.Objects[segment]) = (late, lateSegment); // a request that was long under way
        using var fresh = await Fixture.OpenAsync(lab.Store, encrypted: false);
        Assert.DoesNotContain((await fresh.ListPointsAsync(null, Fixture.Token)).Points, found => found.Id == point.Id);
        Assert.Null(await fresh.GetPointAsync(point.MachineId, point.Id, Fixture.Token));
        await Assert.ThrowsAsync<PointGoneException>(() => fresh.BeginReadAsync(point, Fixture.Token));
        await Assert.ThrowsAsync<PointGoneException>(() => fresh.UndoAsync(point.MachineId, point.Id, Fixture.Token));
        var options = new BackupRunOptions { Bases = [point] };
        await Assert.ThrowsAsync<BaseUnusableException>(() => fresh.BeginRunAsync(point.MachineId, options, Fixture.Token));
        var listing = await IndexListing.ReadAsync(fresh.Context, forWriting: true, Fixture.Token);
        Assert.DoesNotContain(segment, listing.Segments);
        lab.Store.Now += TimeSpan.FromHours(25);
        await lab.CollectAsync();
        Assert.DoesNotContain(lab.Store.Objects.Keys, name => name == key || name == segment);
        await lab.AssertAllHoldAsync();
        Assert.Contains(await lab.PointsAsync(), found => found.Id == other.Id);
    }

    [Fact]
    public async Task OldTombstones_AreForgottenButTheirRunsNever()
    {
        var lab = await CollectorLab.CreateAsync();
        var run = await lab.Repository.BeginRunAsync(new MachineId("a"), new BackupRunOptions(), Fixture.Token);
        await run.DisposeAsync();
        var key = ObjectNames.Point(run.MachineId, run.Id);
        await lab.BackUpAsync("b", 1000, seed: 1);
        await lab.CollectAsync();
        Assert.Contains(key, lab.Store.Objects.Keys);
        lab.Store.Now += TimeSpan.FromDays(31);
        await lab.CollectAsync();
        Assert.DoesNotContain(key, lab.Store.Objects.Keys);
        Assert.True((await EpochListing.ReadAsync(lab.Repository.Context, Fixture.Token)).Roster.IsGone(run.Id));
    }

    /// <summary>A run that died without a word pinned all that could go: nothing is condemned, so nobody waits for it.</summary>
    [Fact]
    public async Task SilentRun_IsRevokedThoughNothingWaitsForIt()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 600_000, seed: 1);
        var run = await lab.Repository.BeginRunAsync(point.MachineId, new BackupRunOptions { Bases = [point] }, Fixture.Token);
        await lab.Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        Assert.True((await lab.CollectAsync()).DeletedBytes > 0);
        Assert.Equal(0L, lab.PackBytes);
        await run.DisposeAsync();
    }

    [Fact]
    public async Task DeadRunOfThisHost_IsRevokedAtOnceAndALiveOneIsNot()
    {
        var lab = await CollectorLab.CreateAsync();
        var processes = new Processes();
        using var host = await Repository.OpenAsync(
            lab.Store, Credentials.None, Fixture.OptionsOf(1) with { Processes = processes }, Fixture.Token);
        await using var dying = await host.BeginRunAsync(new MachineId("a"), new BackupRunOptions(), Fixture.Token);
        processes.Current = new ProcessMark("boot", "space", 8, 80);
        await using var living = await host.BeginRunAsync(new MachineId("b"), new BackupRunOptions(), Fixture.Token);
        processes.Gone.Add(7);
        Assert.Equal(1, await host.RevokeDeadRunsAsync(Fixture.Token));
        Assert.Equal(0, await host.RevokeDeadRunsAsync(Fixture.Token));
        await Assert.ThrowsAsync<RunRevokedException>(() => dying.CommitAsync(Fixture.DraftOf(), Fixture.Token));
        await living.CommitAsync(Fixture.DraftOf(), Fixture.Token);
    }

    [Fact]
    public void ThisProcess_IsNotGone()
    {
        var own = Assert.IsType<ProcessMark>(ProcessTable.OfHost.Own);
        Assert.False(ProcessTable.OfHost.IsGone(own));
        Assert.True(ProcessTable.OfHost.IsGone(own with { Started = own.Started - 1 }));
        Assert.True(ProcessTable.OfHost.IsGone(own with { Boot = "another" }));
        Assert.False(ProcessTable.OfHost.IsGone(own with { Space = "another", Pid = 1 << 22 }));
    }

    [Fact]
    public async Task RunAsleepForMoreThanAWeek_DoesNotCommit()
    {
        var clock = new SetClock();
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store, encrypted: false);
        using var repository = await Repository.OpenAsync(
            store, Credentials.None, Fixture.OptionsOf(1) with { Clock = clock }, Fixture.Token);
        await using var run = await repository.BeginRunAsync(new MachineId("a"), new BackupRunOptions(), Fixture.Token);
        clock.Now += TimeSpan.FromDays(8);
        await Assert.ThrowsAsync<RunRevokedException>(() => run.CommitAsync(Fixture.DraftOf(), Fixture.Token));
        Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
    }

    [Fact]
    public async Task Labels_CountByTheNewestAndKeepAPointFromExpiring()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 1000, seed: 1);
        var changes = Enumerable.Range(0, 10).Select(i => Task.Run(
            () => lab.Repository.LabelAsync(point.MachineId, point.Id, label => label.With($"t{i}", "v"), Fixture.Token), Fixture.Token));
        await Task.WhenAll(changes);
        Assert.Equal(10, Assert.Single(await lab.PointsAsync()).Tags.Count);
        await lab.Repository.LabelAsync(
            point.MachineId, point.Id, label => label.With("t0", null) with { Protect = true }, Fixture.Token);
        var labelled = Assert.Single(await lab.PointsAsync());
        Assert.Equal(9, labelled.Tags.Count);
        Assert.True(labelled.Label.IsProtectedAt(DateTimeOffset.MaxValue));
        await lab.Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromDays(3);
        Assert.Equal(0, (await lab.CollectAsync()).Expired);
        await lab.Repository.LabelAsync(point.MachineId, point.Id, label => label with { Protect = false }, Fixture.Token);
        Assert.Equal(1, (await lab.CollectAsync()).Expired);
    }

    private static byte[] Altered(CollectorLab lab, string key, byte[] content) =>
        lab.Repository.Context.Close(key, [.. lab.Repository.Context.Open(key, content), (byte)' ']);

    private sealed class SetClock : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = DateTimeOffset.UnixEpoch;

        public override DateTimeOffset GetUtcNow() => Now;
    }

    private sealed class Processes : ProcessTable
    {
        public ProcessMark Current { get; set; } = new("boot", "space", 7, 70);

        public HashSet<int> Gone { get; } = [];

        public override ProcessMark? Own => Current;

        public override bool IsGone(ProcessMark process) => Gone.Contains(process.Pid);
    }
}
