// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>Objects of two repositories in one place, as a copy into the wrong folder leaves them.</summary>
public sealed class MixedRepositoriesTests
{
    private static readonly MachineId Machine = new("other");

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ObjectsOfAnotherRepository_AreNamedAndNothingIsCollected(bool encrypted)
    {
        var (store, point, content) = await MakeAsync(encrypted, 1);
        var (foreign, foreignPoint, foreignContent) = await MakeAsync(encrypted, 2);
        foreach (var (key, value) in foreign.Objects)
            store.Objects.TryAdd(key, value); // config and, without encryption, nothing of keys stay as they were
        var before = store.Objects.Keys.Order(StringComparer.Ordinal).ToArray();
        using (var mixed = await Fixture.OpenAsync(store, encrypted))
        {
            var listing = await mixed.ListPointsAsync(null, Fixture.Token);
            Assert.Equal(point.Id, Assert.Single(listing.Points).Id);
            var key = ObjectNames.Point(foreignPoint.MachineId, foreignPoint.Id);
            Assert.Equal(key, Assert.Single(listing.Damaged).DamagedObject);
            await Fixture.AssertHoldsAsync(mixed, point.Disk("vda"), content);
            foreach (var level in Enum.GetValues<VerifyLevel>())
            {
                var found = await mixed.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
                Assert.Contains(found.Damaged, damage => damage.Key == key);
                Assert.DoesNotContain(found.Damaged, damage => damage.Affected.Count > 0);
                Assert.Empty(found.Quarantined);
            }

            var options = new CollectOptions { UndoWindow = TimeSpan.Zero, MaxDeletePercent = 100 };
            var refusal = await Assert.ThrowsAsync<RepositoryDamagedException>(() => mixed.CollectAsync(options, null, Fixture.Token));
            Assert.Equal(key, refusal.DamagedObject);
            Assert.Empty(before.Except(store.Objects.Keys));
            var next = await Fixture.BackUpAsync(mixed, content, point, []);
            await Fixture.AssertHoldsAsync(mixed, next.Disk("vda"), content);
        }

        // Taken apart again, both are whole.
        foreach (var key in foreign.Objects.Keys.Where(key => key != ObjectNames.Config))
        {
            Assert.Equal(foreign.Objects[key], store.Objects[key]);
            store.Objects.TryRemove(key, out _);
        }

        using var own = await Fixture.OpenAsync(store, encrypted);
        Assert.True((await own.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        using var other = await Fixture.OpenAsync(foreign, encrypted);
        await Fixture.AssertHoldsAsync(other, foreignPoint.Disk("vda"), foreignContent);
    }

    [Fact]
    public async Task ConfigOfAnotherRepository_OpensNothing()
    {
        var (store, _, _) = await MakeAsync(true, 1);
        var (foreign, _, _) = await MakeAsync(true, 2);
        var config = store.Objects[ObjectNames.Config];
        store.Objects[ObjectNames.Config] = foreign.Objects[ObjectNames.Config];
        var failure = await Assert.ThrowsAsync<WrongKeyException>(() => Fixture.OpenAsync(store));
        Assert.Contains("opens none of the 1 key slots", failure.Message, StringComparison.Ordinal);
        store.Objects[ObjectNames.Config] = config;
        using var again = await Fixture.OpenAsync(store);
        Assert.True((await again.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
    }

    private static async Task<(MemoryStore Store, RestorePoint Point, byte[] Content)> MakeAsync(bool encrypted, int seed)
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store, encrypted, writer: (ulong)seed);
        var content = Fixture.Content(new Random(seed), 900_000);
        await using var run = await repository.BeginRunAsync(seed == 1 ? Fixture.Machine : Machine, new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", content);
        return (store, await run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token), content);
    }
}
