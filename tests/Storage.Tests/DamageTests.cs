// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

public sealed class DamageTests
{
    public static TheoryData<string, string, bool> Damages()
    {
        var data = new TheoryData<string, string, bool>();
        foreach (var what in new[] { "/d-", "/m-", "index/", "points/" })
        {
            foreach (var how in new[] { "flip", "truncate", "delete" })
            {
                data.Add(what, how, true);
                data.Add(what, how, false);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task DamagedObject_IsNamedByVerifyAndNeverReadAsIfWhole(string what, string how, bool encrypted)
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store, encrypted);
        var content = Fixture.Content(new Random(3), 3 << 20);
        var point = await Fixture.BackUpAsync(made, content);
        var key = store.Objects.Keys.Single(key => key.Contains(what, StringComparison.Ordinal));
        Damage(store, key, how);
        using var repository = await Fixture.OpenAsync(store, encrypted);
        if (what == "points/" && how == "delete")
        {
            Assert.Empty((await repository.ListPointsAsync(null, Fixture.Token)).Points);
            return;
        }

        foreach (var level in Enum.GetValues<VerifyLevel>())
        {
            var result = await repository.VerifyAsync(level, null, null, Fixture.Token);
            var isSeen = level != VerifyLevel.Quick || how != "flip" || !what.StartsWith('/');
            string[] expected = isSeen ? [key] : [];
            Assert.Equal(expected, result.Damaged.Select(damaged => damaged.Key).ToArray());
            if (isSeen && what.StartsWith('/'))
                Assert.Equal(point.Id, Assert.Single(result.Damaged[0].Affected).Id);
        }

        await AssertNeverWrongAsync(repository, point, content, isReadable: !what.StartsWith('/'));
    }

    [Fact]
    public async Task AnyFlippedByteOfAnyPack_GivesTheRightBytesOrAnError()
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store, encrypted: false);
        var content = Fixture.Content(new Random(9), 200_000);
        var point = await Fixture.BackUpAsync(made, content);
        var random = new Random(10);
        foreach (var key in store.Objects.Keys.Where(key => key.StartsWith("packs/", StringComparison.Ordinal)).ToArray())
        {
            var whole = store.Objects[key];
            for (var round = 0; round < 60; round++)
            {
                var damaged = whole.ToArray();
                damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
                store.Objects[key] = damaged;
                using var repository = await Fixture.OpenAsync(store, encrypted: false);
                await AssertNeverWrongAsync(repository, point, content, isReadable: null);
            }

            store.Objects[key] = whole;
        }
    }

    [Fact]
    public async Task DamageInOnePoint_LeavesTheOtherWhole()
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(3), 3 << 20);
        var first = await Fixture.BackUpAsync(made, content);
        var changed = content.ToArray();
        new Random(4).NextBytes(changed.AsSpan(0, 60_000));
        var second = await Fixture.BackUpAsync(made, changed, first, [0]);
        var key = store.Objects.Keys.Single(key => key.Contains($"{second.Id}/d-", StringComparison.Ordinal));
        Damage(store, key, "flip");
        using var repository = await Fixture.OpenAsync(store);
        var result = await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
        Assert.Equal(second.Id, Assert.Single(Assert.Single(result.Damaged).Affected).Id);
        await Fixture.AssertHoldsAsync(repository, first.Disk("vda"), content);
    }

    [Fact]
    public async Task HintThatLeadsNowhere_FallsBackToTheIndex() // I9
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(3), 1 << 20);
        var point = await Fixture.BackUpAsync(made, content);
        var disk = point.Disk("vda") with { Hint = null };
        await Fixture.AssertHoldsAsync(made, disk, content);
        using var repository = await Fixture.OpenAsync(store);
        var wrong = point.Disk("vda").Hint! with { Off = 1 };
        await Fixture.AssertHoldsAsync(repository, disk with { Hint = wrong }, content);
    }

    [Theory]
    [InlineData("gone")]
    [InlineData("quarantined")]
    [InlineData("condemned")]
    public async Task PackNotToBeReused_IsWrittenAgain(string why) // I10
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store, encrypted: false);
        var content = Fixture.Content(new Random(3), 1 << 20);
        var first = await Fixture.BackUpAsync(made, content);
        var key = store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal));
        switch (why)
        {
            case "gone":
                store.Objects.Remove(key, out _);
                break;
            case "quarantined":
                store.Objects["bad/" + key["packs/".Length..]] = [];
                break;
            default:
                store.Objects["gc/00000001/condemn"] = made.Context.Close(
                    "gc/00000001/condemn", System.Text.Encoding.UTF8.GetBytes($"{{\"v\":1,\"packs\":[\"{key}\"]}}"));
                break;
        }

        using var repository = await Fixture.OpenAsync(store, encrypted: false);
        var second = await Fixture.BackUpAsync(repository, content);
        Assert.True(second.NewBytes > 0);
        Assert.Equal(first.Disk("vda").Root, second.Disk("vda").Root);
        store.Objects.Remove(key, out _);
        using var later = await Fixture.OpenAsync(store, encrypted: false);
        await Fixture.AssertHoldsAsync(later, second.Disk("vda"), content);
    }

    [Fact]
    public async Task ForeignBlobThatIsNotWhatItSays_IsNotReused() // I10
    {
        var store = new MemoryStore();
        using var foreign = await Fixture.InitAsync(store, writer: 2);
        var content = Fixture.Content(new Random(3), 1 << 20);
        await Fixture.BackUpAsync(foreign, content);
        var key = store.Objects.Keys.Single(key => key.Contains("/d-", StringComparison.Ordinal));
        Damage(store, key, "flip");
        using var repository = await Fixture.OpenAsync(store, writer: 1);
        await using var run = await repository.BeginRunAsync(new MachineId("other"), new BackupRunOptions(), Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", content);
        var point = await run.CommitAsync(Fixture.DraftOf(disk), Fixture.Token);
        Assert.Equal(1, disk.StoredChunks);
        Assert.True(disk.KnownChunks > 1);
        using var later = await Fixture.OpenAsync(store);
        await Fixture.AssertHoldsAsync(later, point.Disk("vda"), content);
    }

    [Fact]
    public async Task SegmentOfARunWithoutAPoint_IsNotUsed()
    {
        var store = new MemoryStore();
        using var made = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(3), 1 << 20);
        var point = await Fixture.BackUpAsync(made, content);
        store.Objects[$"points/{Fixture.Machine}/{point.Id}"] = [];
        using var repository = await Fixture.OpenAsync(store, writer: 2); // its own writer may adopt the packs
        var again = await Fixture.BackUpAsync(repository, content);
        Assert.True(again.NewBytes > 100_000);
        Assert.Equal(1, again.Seq);
    }

    internal static void Damage(MemoryStore store, string key, string how)
    {
        var content = store.Objects[key].ToArray();
        switch (how)
        {
            case "flip":
                content[content.Length / 3] ^= 1;
                store.Objects[key] = content;
                break;
            case "truncate":
                store.Objects[key] = content[..(content.Length / 2)];
                break;
            default:
                store.Objects.Remove(key, out _);
                break;
        }
    }

    private static async Task AssertNeverWrongAsync(Repository repository, RestorePoint point, byte[] content, bool? isReadable)
    {
        foreach (var read in new Func<Repository, PointDisk, Task<byte[]>>[] { Fixture.ReadAsync, Fixture.ReadPlannedAsync })
        {
            try
            {
                Assert.Equal(content, await read(repository, point.Disk("vda")));
                Assert.NotEqual(false, isReadable);
            }
            catch (RepositoryDamagedException failure)
            {
                Assert.NotEqual(true, isReadable);
                Assert.NotEmpty(failure.DamagedObject);
            }
        }
    }
}
