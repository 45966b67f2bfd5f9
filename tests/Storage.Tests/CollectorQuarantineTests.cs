// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>What a collector does with quarantined packs and their records once they are healed.</summary>
public sealed class CollectorQuarantineTests
{
    [Theory]
    [InlineData("delete", VerifyLevel.Quick)]
    [InlineData("delete", VerifyLevel.Data)]
    public async Task PackThatIsGone_LeavesTheIndexWithItsRecordsOnceItIsHealed(string how, VerifyLevel level)
    {
        var (lab, first, pack) = await DamagedAsync(how, level);
        await lab.CollectAsync();
        Assert.Single(RecordsOf(lab)); // not healed yet: who backs up must see what is lost
        Assert.False((await VerifyAsync(lab)).IsSound);
        var second = await lab.BackUpContentAsync("a", lab.ContentOf(first), first, null);
        Assert.Equal([pack], (await VerifyAsync(lab)).Healed);
        var result = await lab.CollectAsync();
        Assert.Equal(0, result.DeletedBytes);
        Assert.Empty(RecordsOf(lab));
        await lab.AssertAllHoldAsync();
        Assert.Empty((await VerifyAsync(lab)).Healed);
        var third = await lab.BackUpContentAsync("c", lab.ContentOf(second), null, null);
        Assert.Equal(0, third.Disk("vda").StoredBytes);
        await lab.AssertAllHoldAsync();
    }

    /// <summary>Its sound blobs may be all there is: pack and records stay together until nothing needs them.</summary>
    [Theory]
    [InlineData("flip", VerifyLevel.Data)]
    [InlineData("truncate", VerifyLevel.Data)]
    public async Task PackThatIsDamagedInPart_StaysWithItsRecordsUntilNothingNeedsIt(string how, VerifyLevel level)
    {
        var (lab, first, pack) = await DamagedAsync(how, level);
        var second = await lab.BackUpContentAsync("a", lab.ContentOf(first), first, null);
        await lab.CollectAsync();
        Assert.Single(RecordsOf(lab));
        Assert.True(lab.Store.Objects.ContainsKey(pack));
        await lab.AssertAllHoldAsync();
        await lab.Repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        await lab.Repository.RetireAsync(second.MachineId, second.Id, null, Fixture.Token);
        lab.Store.Now += TimeSpan.FromHours(25);
        await lab.CollectAsync();
        Assert.Empty(RecordsOf(lab));
        Assert.False(lab.Store.Objects.ContainsKey(pack));
        await lab.AssertAllHoldAsync();
    }

    [Fact]
    public async Task RecordOfNoPack_GoesUnlessItsRunMayStillWriteIt()
    {
        var lab = await CollectorLab.CreateAsync();
        var kept = await lab.BackUpAsync("a", 600_000, seed: 1);
        await using var live = await lab.Repository.BeginRunAsync(new MachineId("b"), new BackupRunOptions(), Fixture.Token);
        string RecordOf(RunId run) => $"bad/{lab.Repository.Writer}/{run}/d-{new string('7', 64)}";
        var (stray, early) = (RecordOf(RunId.New()), RecordOf(live.Id));
        const string Unknown = "bad/what-a-later-program-may-know";
        foreach (var key in new[] { stray, stray + ".1", early, Unknown })
            lab.Store.Objects[key] = [];
        var named = ObjectNames.QuarantineOf(lab.Store.Objects.Keys.First(key => key.Contains("/d-", StringComparison.Ordinal)
            && key.StartsWith($"packs/{lab.Repository.Writer}/{kept.Run}", StringComparison.Ordinal)), 0);
        lab.Store.Objects[named] = [];
        await lab.CollectAsync();
        await lab.CollectAsync();
        Assert.Equal(new[] { early, named, Unknown }.Order(StringComparer.Ordinal), RecordsOf(lab));
        await live.DisposeAsync();
        await lab.CollectAsync();
        Assert.Equal(new[] { named, Unknown }.Order(StringComparer.Ordinal), RecordsOf(lab));
        await lab.AssertAllHoldAsync();
    }

    // Two machines; the older chunk pack of the first is damaged, and recorded.
    private static async Task<(CollectorLab Lab, RestorePoint Point, string Pack)> DamagedAsync(string how, VerifyLevel level)
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 1_500_000, seed: 1);
        await lab.BackUpAsync("b", 600_000, seed: 2);
        var pack = lab.Store.Objects.Keys.Single(key => key.Contains($"/{point.Run}/d-", StringComparison.Ordinal));
        DamageTests.Damage(lab.Store, pack, how);
        var found = await VerifyAsync(lab, level);
        Assert.Equal([pack], found.Quarantined);
        return (lab, point, pack);
    }

    private static async Task<VerifyResult> VerifyAsync(CollectorLab lab, VerifyLevel level = VerifyLevel.Data)
    {
        using var fresh = await Fixture.OpenAsync(lab.Store, encrypted: false);
        return await fresh.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
    }

    private static string[] RecordsOf(CollectorLab lab) =>
        [.. lab.Store.Objects.Keys.Where(key => key.StartsWith("bad/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
}
