// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>A point that can't be read stops collections (I18), and how one gets past it.</summary>
public sealed class DamagedPointTests
{
    private static readonly MachineId Machine = new("a");

    [Theory]
    [InlineData("junk")]
    [InlineData("one byte")]
    [InlineData("cut")]
    [InlineData("sealed junk")]
    [InlineData("sealed for another place")]
    public async Task UnreadablePoint_StopsCollectionsUntilItIsGivenUp(string kind)
    {
        var lab = await CollectorLab.CreateAsync();
        var left = await lab.BackUpAsync("b", 600_000, seed: 1);
        var (run, key) = await SpoilAsync(lab, kind);
        var failure = await Assert.ThrowsAsync<RepositoryDamagedException>(() => lab.CollectAsync());
        Assert.Equal(key, failure.DamagedObject);
        await Assert.ThrowsAsync<RepositoryDamagedException>(
            () => lab.Repository.CollectAsync(new CollectOptions { DryRun = true }, null, Fixture.Token));

        await lab.Repository.RetireDamagedAsync(Machine, run, Fixture.Token);
        await Assert.ThrowsAsync<RepositoryDamagedException>(() => lab.CollectAsync()); // the undo window is for this, too
        lab.Store.Now += TimeSpan.FromHours(25);
        await lab.CollectAsync();
        await lab.CollectAsync();
        Assert.DoesNotContain(lab.Store.Objects.Keys, name => name.Contains(run.ToString(), StringComparison.Ordinal)
            && (name.StartsWith("packs/", StringComparison.Ordinal) || name.StartsWith("index/", StringComparison.Ordinal) || name == key));
        Assert.Equal(left.Id, Assert.Single(await lab.PointsAsync()).Id);
        await lab.AssertAllHoldAsync();
    }

    [Theory]
    [InlineData("version of the seal")]
    [InlineData("version of the point")]
    public async Task PointOfALaterProgram_IsNotGivenUp(string kind)
    {
        var lab = await CollectorLab.CreateAsync();
        var (run, key) = await SpoilAsync(lab, kind);
        await Assert.ThrowsAsync<RepositoryDamagedException>(() => lab.CollectAsync());
        await Assert.ThrowsAsync<FormatTooNewException>(() => lab.Repository.RetireDamagedAsync(Machine, run, Fixture.Token));
        Assert.DoesNotContain(lab.Store.Objects.Keys, name => name.StartsWith("retire/", StringComparison.Ordinal));
        Assert.True(lab.Store.Objects.ContainsKey(key));
    }

    [Fact]
    public async Task PointThatCanBeReadOrIsNone_IsNotGivenUp()
    {
        var lab = await CollectorLab.CreateAsync();
        var point = await lab.BackUpAsync("a", 600_000, seed: 1);
        await Assert.ThrowsAsync<InvalidOperationException>(() => lab.Repository.RetireDamagedAsync(Machine, point.Id, Fixture.Token));
        var run = RunId.New();
        await Assert.ThrowsAsync<PointGoneException>(() => lab.Repository.RetireDamagedAsync(Machine, run, Fixture.Token));
        lab.Store.Objects[ObjectNames.Point(Machine, run)] = [];
        await Assert.ThrowsAsync<PointGoneException>(() => lab.Repository.RetireDamagedAsync(Machine, run, Fixture.Token));
        lab.Store.BeforeRead = _ => throw new StoreException("The disk does not answer.", isTransient: true);
        using var fresh = lab.Repository.Afresh();
        await Assert.ThrowsAsync<StoreException>(() => fresh.RetireDamagedAsync(Machine, point.Id, Fixture.Token));
        lab.Store.BeforeRead = null;
        Assert.DoesNotContain(lab.Store.Objects.Keys, name => name.StartsWith("retire/", StringComparison.Ordinal));
    }

    // A point of machine a that no program, or only a later one, can read.
    private static async Task<(RunId Run, string Key)> SpoilAsync(CollectorLab lab, string kind)
    {
        var context = lab.Repository.Context;
        var point = await lab.BackUpAsync("a", 700_000, seed: 2);
        var key = ObjectNames.Point(Machine, point.Id);
        var right = lab.Store.Objects[key];
        lab.Store.Objects[key] = kind switch
        {
            "junk" => Encoding.ASCII.GetBytes("This is no point, and it was never one."),
            "one byte" => [0],
            "cut" => right[..^7],
            "sealed junk" => context.Close(key, "[1,2]"u8),
            "sealed for another place" => context.Close(key + "x", "{}"u8),
            "version of the seal" => [.. right[..4], 2, .. right[5..]],
            _ => context.Close(key, """{"v":2,"disks":"elsewhere"}"""u8),
        };
        return (point.Id, key);
    }
}
