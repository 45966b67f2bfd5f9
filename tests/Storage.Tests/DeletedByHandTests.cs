// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>
/// Each object of a repository deleted by hand in turn: what a restore gives is exact or an error, what is hurt is named by verify, a
/// collection or backup after that makes nothing worse.
/// </summary>
public sealed class DeletedByHandTests
{
    private static readonly MachineId Other = new("other");

    [Fact]
    public async Task EveryObjectDeletedInTurn_IsFoundOrDoesNoHarm()
    {
        var made = await MakeAsync();
        var outcomes = new SortedDictionary<string, SortedSet<string>>(StringComparer.Ordinal);
        foreach (var key in made.Store.Objects.Keys.Order(StringComparer.Ordinal))
        {
            var outcome = await TryWithoutAsync(made, key);
            var kind = KindOf(made, key);
            if (!outcomes.TryGetValue(kind, out var seen))
                outcomes.Add(kind, seen = new SortedSet<string>(StringComparer.Ordinal));
            seen.Add(outcome);
        }

        var said = string.Join('\n', outcomes.Select(entry => $"{entry.Key}: {string.Join(" | ", entry.Value)}"));
        foreach (var (kind, expected) in Expected)
            Assert.True(outcomes.TryGetValue(kind, out var seen) && seen.SetEquals(expected.Split(" | ")), $"{kind} in:\n{said}");
        Assert.True(Expected.Count == outcomes.Count, said);
    }

    private const string Harmless = "0 missing, 0 back, 0 hurt, sound, collected";

    // What a reader, verify, and a collection then say.
    private static readonly Dictionary<string, string> Expected = new(StringComparer.Ordinal)
    {
        ["config"] = "RepositoryNotFoundException",
        ["keys"] = $"{Harmless} | WrongKeyException", // the other key still opens it
        ["gc first probe"] = Harmless,
        ["gc first condemn"] = Harmless,
        ["gc first wait"] = Harmless,
        ["gc first verdict"] = Harmless,
        ["gc first roster"] = Harmless,
        ["gc first index"] = Harmless,
        ["gc first done"] = Harmless,
        ["gc 00000002 probe"] = Harmless,
        ["gc 00000002 condemn"] = Harmless,
        ["gc 00000002 verdict"] = Harmless,
        ["gc 00000002 roster"] = Harmless,
        ["gc 00000002 index"] = Harmless,
        ["gc 00000002 done"] = Harmless,
        ["labels"] = Harmless,
        ["scrub"] = Harmless,
        ["run"] = Harmless,
        ["tombstone"] = Harmless,
        ["retire"] = "0 missing, 1 back, 0 hurt, sound, collected", // that record is the deletion

        // One that an earlier collection saw, and a deleted one. Of one that no other object speaks of yet, nobody knows but the host.
        ["point"] = $"{Harmless} | 1 missing, 0 back, 0 hurt, named, collection refused",
        ["newest point"] = "1 missing, 0 back, 0 hurt, sound, collected",

        // The packs say what they hold, so nothing is hurt. Of the deleted point, only the collector needs it.
        ["folded segment"] = "0 missing, 0 back, 0 hurt, named, collection refused",
        ["segment"] = "0 missing, 0 back, 0 hurt, named, collection refused | 0 missing, 0 back, 0 hurt, sound, collection refused",
        ["pack of chunks"] = "0 missing, 0 back, 0 hurt, named, collected | 0 missing, 0 back, 1 hurt, named, collected | "
            + "0 missing, 0 back, 4 hurt, named, collected",
        ["pack of nodes"] = "0 missing, 0 back, 0 hurt, named, collected | 0 missing, 0 back, 1 hurt, named, collection refused",
    };

    private static string KindOf(Made made, string key)
    {
        var parts = key.Split('/');
        return parts[0] switch
        {
            "packs" => parts[^1][0] == 'd' ? "pack of chunks" : "pack of nodes",
            "gc" => $"gc {(parts[1] == made.FirstEpoch ? "first" : parts[1])} {parts[^1]}",
            "index" => parts[1][0] == 'g' ? "folded segment" : "segment",
            "points" => made.Store.Objects[key].Length == 0 ? "tombstone" : key == made.Newest ? "newest point" : "point",
            "runs" => "run",
            _ => parts[0],
        };
    }

    private static async Task<string> TryWithoutAsync(Made made, string key)
    {
        var store = made.Store.Copy();
        store.Objects.Remove(key, out _);
        Repository repository;
        try
        {
            repository = await Fixture.OpenAsync(store);
        }
        catch (Exception failure) when (failure is RepositoryNotFoundException or WrongKeyException)
        {
            return failure.GetType().Name;
        }

        using (repository)
        {
            PointListing listing;
            try
            {
                listing = await repository.ListPointsAsync(null, Fixture.Token);
            }
            catch (RepositoryDamagedException failure)
            {
                return "no list: " + failure.Message;
            }

            var missing = made.Contents.Keys.Except(made.Deleted).Except(listing.Points.Select(point => point.Id)).Count();
            var back = listing.Points.Count(point => made.Deleted.Contains(point.Id));
            var hurt = 0;
            Assert.DoesNotContain(listing.Points, point => !made.Contents.ContainsKey(point.Id));
            foreach (var point in listing.Points)
                hurt += await ReadsAsync(repository, point, made.Contents[point.Id]) ? 0 : 1;
            var verified = await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
            var affected = verified.Damaged.SelectMany(damage => damage.Affected).Select(point => point.Id).Distinct().Count();
            Assert.True(affected >= hurt, $"Without '{key}' {hurt} points can't be read, and verify says it of {affected}.");
            var said = verified.Damaged.Count == 0 ? "sound" : "named";
            var gc = await CollectAsync(repository);
            var after = 0;
            foreach (var point in listing.Points)
                after += await ReadsAsync(repository, point, made.Contents[point.Id]) ? 0 : 1;
            Assert.True(after <= hurt, $"Without '{key}' a collection hurt {after - hurt} more points.");
            await BackUpAsync(repository, listing, made);
            return $"{missing} missing, {back} back, {affected} hurt, {said}, {gc}";
        }
    }

    private static async Task<bool> ReadsAsync(Repository repository, RestorePoint point, byte[] expected)
    {
        using var afresh = repository.Afresh();
        try
        {
            Assert.Equal(expected, await Fixture.ReadPlannedAsync(afresh, point.Disk("vda")));
            return true;
        }
        catch (RepositoryDamagedException)
        {
            return false;
        }
    }

    private static async Task<string> CollectAsync(Repository repository)
    {
        try
        {
            await repository.CollectAsync(new CollectOptions { UndoWindow = TimeSpan.Zero, MaxDeletePercent = 100 }, null, Fixture.Token);
            return "collected";
        }
        catch (Exception refusal) when (refusal is RepositoryDamagedException or CollectionRefusedException)
        {
            return "collection refused";
        }
    }

    private static async Task BackUpAsync(Repository repository, PointListing listing, Made made)
    {
        var origin = listing.Points.FirstOrDefault(point => point.MachineId == Fixture.Machine);
        var content = Fixture.Content(new Random(79), 900_000);
        try
        {
            var point = await Fixture.BackUpAsync(repository, content, origin);
            Assert.True(await ReadsAsync(repository, point, content), "A backup that was made can't be read.");
        }
        catch (Exception failure) when (failure is RepositoryDamagedException or BaseUnusableException)
        {
            Assert.NotEmpty(failure.Message);
        }
    }

    // Two machines, a point deleted and collected, one deleted only, labels, a ledger, a second key: every kind there is.
    private static async Task<Made> MakeAsync()
    {
        var store = new MemoryStore { Now = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) };
        using var repository = await Fixture.InitAsync(store);
        var contents = new Dictionary<RunId, byte[]>();
        var first = await MakeOneAsync(71, null);
        var second = await MakeOneAsync(72, first);
        await repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
        contents.Remove(first.Id);
        await CollectAsync(repository);
        var third = await MakeOneAsync(73, second);
        await using (var run = await repository.BeginRunAsync(Other, new BackupRunOptions(), Fixture.Token))
        {
            var content = Fixture.Content(new Random(74), 900_000);
            var point = await run.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(run, "vda", content)), Fixture.Token);
            contents[point.Id] = content;
        }

        await CollectAsync(repository);
        var gone = await MakeOneAsync(75, third);
        var last = await MakeOneAsync(76, gone);
        await repository.RetireAsync(gone.MachineId, gone.Id, null, Fixture.Token);
        await repository.LabelAsync(third.MachineId, third.Id, label => label with { Protect = true }, Fixture.Token);
        await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token);
        await repository.AddKeyAsync(Fixture.Key, Credentials.FromKeyFile(KeyFile.Generate()), "second", Fixture.Token);
        var epochs = store.Objects.Keys.Select(ObjectNames.ParseEpoch).OfType<(int Epoch, string Record)>().Min(record => record.Epoch);
        return new Made(store, contents, [gone.Id], $"{epochs:d8}", ObjectNames.Point(last.MachineId, last.Id));

        async Task<RestorePoint> MakeOneAsync(int seed, RestorePoint? origin)
        {
            var content = Fixture.Content(new Random(seed), 900_000);
            if (origin is not null)
                contents.GetValueOrDefault(origin.Id)?.AsSpan(0, 300_000).CopyTo(content);
            var point = await Fixture.BackUpAsync(repository, content, origin);
            contents[point.Id] = content;
            return point;
        }
    }

    private sealed record Made(
        MemoryStore Store, Dictionary<RunId, byte[]> Contents, HashSet<RunId> Deleted, string FirstEpoch, string Newest);
}
