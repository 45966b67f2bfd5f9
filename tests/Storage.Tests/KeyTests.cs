// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>Key slots, their roles and the recovery sheet (docs/format.md section 6).</summary>
public sealed class KeyTests
{
    private const string FullWrapped = "5cefaa5f05204eb30a6cad6ec01dd3694ea72858cda71423559298bfb652be4c35bc5dda38625eae4269d3befb26ea20";

    private const string MaintenanceWrapped =
        "9da40c8065a6498ced8c80d7a1a14a713137f68b485f211892ecfd748f7ba90470cd7b2ff6d29df3c18369755f185bed348f04870c1d18af"
        + "0d6e8fcf80c978950f1b766fbd95aae986e963156fbc99fedb4b9b73a7c5a1d325bd74126e56db7255f0b0e619b742e1627ee40c01721a55";

    private const string DomainWrapped =
        "9da40c8065a6498ced8c80d7a1a14a713137f68b485f211892ecfd748f7ba90470cd7b2ff6d29df3c18369755f185bed348f04870c1d18af"
        + "0d6e8fcf80c978950f1b766fbd95aae986e963156fbc99fedb4b9b73a7c5a1d325bd74126e56db725ed4b8a0bb54be8e58df7ac4bf7ba63f"
        + "10efad1e586c1682960e18dfbe9231787c5b533f61214c6a9babd7bae603849b921e4cb1981d8a745a9c4cdd903349445f00b3189fdb2c1c"
        + "a520b93d94a2b1f9";

    private static readonly Guid Id = Guid.ParseExact("00112233445566778899aabbccddeeff", "N");
    private static readonly byte[] Master = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
    private static readonly Credentials Full = Credentials.FromKeyFile(KeyFile.Generate());
    private static readonly Credentials Maintenance = Credentials.FromPassword("broom");

    // The bytes were computed once from docs/format.md by a program of another language.
    [Theory]
    [InlineData("full", FullWrapped)]
    [InlineData("maintenance", MaintenanceWrapped)]
    [InlineData("domain", DomainWrapped)]
    public void SlotOfAnotherProgram_OpensAsItsRole(string role, string wrapped)
    {
        var slot = new KeySlotDocument
        {
            V = 1,
            Repository = Id.ToString("N"),
            Kdf = "keyfile",
            Role = role,
            Domain = role == "domain" ? "tenant-a" : null,
            Salt = Convert.ToHexStringLower([.. Enumerable.Range(200, 32).Select(i => (byte)i)]),
            Nonce = "000102030405060708090a0b",
            Wrapped = wrapped,
        };
        var key = Credentials.FromKeyFile("tidemark-key-1 " + new string('5', 64));
        var secret = KeySlot.TryOpen(slot, "0123456789abcdef", Id, key)!.Value;
        Assert.Equal(role, KeySlot.NameOf(secret.Role));
        var keys = new RepositoryKeys(Master, Id, encrypted: true);
        var expected = role switch
        {
            "full" => Master,
            "maintenance" => keys.MaintenanceSecret,
            _ => keys.In("tenant-a").DomainSecret,
        };
        Assert.Equal(expected, secret.Bytes);
        Assert.Equal(role == "domain" ? "tenant-a" : "", secret.Domain);
        Assert.Null(KeySlot.TryOpen(slot with { Role = "domain", Domain = "tenant-b" }, "0123456789abcdef", Id, key));
        Assert.Null(KeySlot.TryOpen(slot with { Role = role == "full" ? "maintenance" : "full" }, "0123456789abcdef", Id, key));
        Assert.Null(KeySlot.TryOpen(slot, "0123456789abcdee", Id, key));
        Assert.Null(KeySlot.TryOpen(slot with { Role = "reader" }, "0123456789abcdef", Id, key));
        Assert.Null(KeySlot.TryOpen(slot with { Wrapped = wrapped[2..] }, "0123456789abcdef", Id, key));
    }

    [Fact]
    public void RecoverySheet_IsWhatThePageSays()
    {
        const string Line = "tidemark-master-1 00112233445566778899aabbccddeeff "
            + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 2da72a7b";
        var sheet = RecoverySheet.Write(Id, Master, "/srv/backup", DateTimeOffset.UnixEpoch);
        Assert.Contains($"\n{Line}\n", sheet, StringComparison.Ordinal);
        Assert.Equal((Id, Convert.ToHexString(Master)), Read(sheet));
        Assert.Equal((Id, Convert.ToHexString(Master)), Read("  " + Line.Replace(" ", "   ", StringComparison.Ordinal) + "\r\n"));
        for (var at = Line.IndexOf(' ', StringComparison.Ordinal) + 1; at < Line.Length; at++)
        {
            if (Line[at] == ' ')
                continue;
            var typo = Line[..at] + (Line[at] == '1' ? '2' : '1') + Line[(at + 1)..];
            Assert.Throws<WrongKeyException>(() => RecoverySheet.TryRead(typo));
        }

        static (Guid, string) Read(string text)
        {
            var (id, master) = RecoverySheet.TryRead(text)!.Value;
            return (id, Convert.ToHexString(master));
        }
    }

    [Fact]
    public async Task MaintenanceKey_ListsAndVerifies_AndReadsNoGuestData()
    {
        var (store, point) = await MakeAsync();
        using var repository = await OpenAsync(store, Maintenance);
        Assert.Equal(KeyRole.Maintenance, repository.Role);
        var listed = Assert.Single((await repository.ListPointsAsync(null, Fixture.Token)).Points);
        Assert.Equal(point.Disk("vda").Root, listed.Disk("vda").Root);
        Assert.Equal("web-1", listed.Name);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Quick, null, null, Fixture.Token)).IsSound);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token)).IsSound);
        Assert.Throws<KeyRoleException>(() => repository.OpenDisk(listed.Disk("vda")));
        await using (var run = await repository.BeginReadAsync(listed, Fixture.Token))
            Assert.Throws<KeyRoleException>(() => run.OpenDisk("vda"));
        await Assert.ThrowsAsync<KeyRoleException>(() => repository.ReadFileAsync(Assert.Single(listed.Files), Fixture.Token));
        await Assert.ThrowsAsync<KeyRoleException>(() => repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token));
        await Assert.ThrowsAsync<KeyRoleException>(() => Fixture.BackUpAsync(repository, [1]));
        await using var disk = new TestKit.MemoryDisk([1, 2, 3]);
        await Assert.ThrowsAsync<KeyRoleException>(() => repository.RootOfAsync(disk, 16, "", null, Fixture.Token));
        var failure = await Assert.ThrowsAsync<KeyRoleException>(() => repository.ExportAsync(Maintenance, Fixture.Token));
        Assert.Contains("'maintenance'", failure.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<KeyRoleException>(() => repository.AddKeyAsync(Maintenance, Full, "", Fixture.Token));

        // What it holds opens no chunk, by whatever way.
        var key = new byte[RepositoryKeys.KeySize];
        Assert.Throws<KeyRoleException>(() => repository.Context.Keys.BlobKey(BlobKind.Chunk, default, key));
        Assert.Throws<KeyRoleException>(() => repository.Context.Keys.ChunkId([1]));
    }

    [Theory]
    [InlineData("/d-")]
    [InlineData("/m-")]
    public async Task DamageFoundWithAMaintenanceKey_IsHealedAllTheSame(string kind)
    {
        var (store, point) = await MakeAsync();
        var content = Content();
        var pack = store.Objects.Keys.Single(key => key.Contains(kind, StringComparison.Ordinal));
        DamageTests.Damage(store, pack, "flip");
        using (var repository = await OpenAsync(store, Maintenance))
        {
            var found = await repository.VerifyAsync(
                new VerifyOptions { Level = VerifyLevel.Packs, Quarantine = true }, null, Fixture.Token);
            Assert.Equal(point.Id, Assert.Single(Assert.Single(found.Damaged).Affected).Id);
        }

        using var host = await OpenAsync(store, Full);
        await BackUpAsync(host, point);
        using var later = await OpenAsync(store, Full);
        await Fixture.AssertHoldsAsync(later, point.Disk("vda"), content);
        foreach (var level in Enum.GetValues<VerifyLevel>())
        {
            var healed = await later.VerifyAsync(level, null, null, Fixture.Token);
            Assert.Empty(healed.Damaged);
            Assert.Contains(pack, healed.Healed);
        }
    }

    [Fact]
    public async Task Slots_AreListedAndRemoved_ButNotTheLastFullOne()
    {
        var (store, _) = await MakeAsync();
        using var repository = await OpenAsync(store, Full);
        var keys = await repository.ListKeysAsync(Fixture.Token);
        Assert.Equal([KeyRole.Full, KeyRole.Maintenance], keys.Select(key => key.Role!.Value).Order());
        Assert.Equal("cleaner", keys.Single(key => key.Role == KeyRole.Maintenance).Label);
        var last = keys.Single(key => key.Role == KeyRole.Full).Slot;
        await Assert.ThrowsAsync<KeyRemovalException>(() => repository.RemoveKeyAsync(last, Fixture.Token));
        await Assert.ThrowsAsync<KeyRemovalException>(() => repository.RemoveKeyAsync("0123456789abcdef", Fixture.Token));
        var spare = Credentials.FromKeyFile(KeyFile.Generate());
        await repository.AddKeyAsync(Full, new NewKey { Credentials = spare }, Fixture.Token);
        await repository.RemoveKeyAsync(last, Fixture.Token);
        await Assert.ThrowsAsync<WrongKeyException>(() => OpenAsync(store, Full));
        using var again = await OpenAsync(store, spare);
        Assert.Equal(KeyRole.Full, again.Role);
    }

    [Fact]
    public async Task SecretOfTwoSlots_OpensAsTheFullOne()
    {
        var store = new MemoryStore();
        using var made = await InitAsync(store, Full);
        var slot = new NewKey { Credentials = Maintenance, Role = KeyRole.Maintenance, Iterations = 1000 };
        await made.AddKeyAsync(Full, slot, Fixture.Token);
        await made.AddKeyAsync(Full, slot with { Role = KeyRole.Full }, Fixture.Token);
        using var repository = await OpenAsync(store, Maintenance);
        Assert.Equal(KeyRole.Full, repository.Role);
    }

    [Fact]
    public async Task RecoverySheet_OpensWithoutAnySlotAndMakesATwin()
    {
        var (store, point) = await MakeAsync();
        string sheet;
        using (var repository = await OpenAsync(store, Full))
            sheet = await repository.ExportAsync(Full, Fixture.Token);
        foreach (var slot in store.Objects.Keys.Where(key => key.StartsWith("keys/", StringComparison.Ordinal)).ToArray())
            store.Objects.TryRemove(slot, out _);
        var paper = Credentials.FromKeyFile(sheet);
        using var opened = await OpenAsync(store, paper);
        await Fixture.AssertHoldsAsync(opened, point.Disk("vda"), Content());
        using var twin = await InitAsync(new MemoryStore(), paper);
        Assert.Equal(opened.Id, twin.Id);
        Assert.Equal(point.Disk("vda").Root, (await Fixture.BackUpAsync(twin, Content())).Disk("vda").Root);
        var other = new MemoryStore();
        using var stranger = await InitAsync(other, Full);
        var failure = await Assert.ThrowsAsync<WrongKeyException>(() => OpenAsync(other, paper));
        Assert.Contains(stranger.Id.ToString("N"), failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoEncryption_HasNoKeys()
    {
        using var repository = await InitAsync(new MemoryStore(), Credentials.None);
        await Assert.ThrowsAsync<InvalidOperationException>(() => repository.AddKeyAsync(Full, Full, "", Fixture.Token));
        await Assert.ThrowsAsync<InvalidOperationException>(() => repository.ExportAsync(Credentials.None, Fixture.Token));
        Assert.Equal(KeyRole.Full, repository.Role);
    }

    private static byte[] Content() => Fixture.Content(new Random(51), 3 << 20);

    private static async Task<(MemoryStore Store, RestorePoint Point)> MakeAsync()
    {
        var store = new MemoryStore();
        using var repository = await InitAsync(store, Full);
        var slot = new NewKey { Credentials = Maintenance, Role = KeyRole.Maintenance, Label = "cleaner", Iterations = 1000 };
        await repository.AddKeyAsync(Full, slot, Fixture.Token);
        return (store, await BackUpAsync(repository, null));
    }

    private static async Task<RestorePoint> BackUpAsync(Repository repository, RestorePoint? origin)
    {
        var options = new BackupRunOptions { Bases = origin is null ? [] : [origin] };
        await using var run = await repository.BeginRunAsync(Fixture.Machine, options, Fixture.Token);
        var disk = await Fixture.WriteAsync(run, "vda", Content(), origin?.Disk("vda").Tree);
        var file = await run.StoreFileAsync("nvram", Encoding.ASCII.GetBytes("nvram"), Fixture.Token);
        return await run.CommitAsync(Fixture.DraftOf(disk) with { Files = [file] }, Fixture.Token);
    }

    private static Task<Repository> InitAsync(IObjectStore store, Credentials credentials) =>
        Repository.InitAsync(store, new InitOptions { Credentials = credentials, Iterations = 1000 }, Fixture.OptionsOf(1), Fixture.Token);

    private static Task<Repository> OpenAsync(IObjectStore store, Credentials credentials) =>
        Repository.OpenAsync(store, credentials, Fixture.OptionsOf(1), Fixture.Token);
}
