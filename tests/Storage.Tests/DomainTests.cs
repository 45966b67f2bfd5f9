// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>Key domains (docs/format.md section 4): what a tenant's key opens, and that everything else works across tenants.</summary>
public sealed class DomainTests
{
    private static readonly Credentials Full = Credentials.FromKeyFile(KeyFile.Generate());
    private static readonly Credentials OfA = Credentials.FromKeyFile(KeyFile.Generate());
    private static readonly Credentials OfB = Credentials.FromKeyFile(KeyFile.Generate());
    private static readonly Credentials Maintenance = Credentials.FromKeyFile(KeyFile.Generate());
    private static readonly string[] Domains = ["", "a", "b"];

    [Fact]
    public async Task DomainKey_OpensItsOwnDisksAndFilesOnly()
    {
        var (store, points) = await MakeAsync();
        using var tenant = await OpenAsync(store, OfA);
        Assert.Equal((KeyRole.Domain, "a"), (tenant.Role, tenant.Domain));
        var listed = (await tenant.ListPointsAsync(null, Fixture.Token)).Points.ToDictionary(point => point.Domain);
        Assert.Equal(Domains, listed.Keys.Order());
        Assert.Equal(points["b"].Disk("vda").Root, listed["b"].Disk("vda").Root);
        await Fixture.AssertHoldsAsync(tenant, listed["a"].Disk("vda"), Content());
        Assert.Equal("nvram of a"u8.ToArray(), await tenant.ReadFileAsync(Assert.Single(listed["a"].Files), Fixture.Token));
        await using var source = new TestKit.MemoryDisk(Content());
        foreach (var other in new[] { listed[""], listed["b"] })
        {
            Assert.False(tenant.Opens(other.Domain));
            var failure = Assert.Throws<KeyRoleException>(() => tenant.OpenDisk(other.Disk("vda")));
            Assert.Contains("key domain 'a' only", failure.Message, StringComparison.Ordinal);
            await using (var run = await tenant.BeginReadAsync(other, Fixture.Token))
                Assert.Throws<KeyRoleException>(() => run.OpenDisk("vda"));
            await Assert.ThrowsAsync<KeyRoleException>(() => tenant.ReadFileAsync(Assert.Single(other.Files), Fixture.Token));
            await Assert.ThrowsAsync<KeyRoleException>(() => tenant.RootOfAsync(source, 16, other.Domain, null, Fixture.Token));
            await Assert.ThrowsAsync<KeyRoleException>(() => BackUpAsync(tenant, "machine-x", other.Domain));
            await Assert.ThrowsAsync<KeyRoleException>(
                () => tenant.UndoAsync(other.MachineId, other.Id, Fixture.Token));

            // Not even when the point is said to be of the domain that the key opens.
            await using var reader = tenant.OpenDisk(other.Disk("vda") with { Domain = "a" });
            await Assert.ThrowsAsync<RepositoryDamagedException>(() => reader.ReadAsync(0, new byte[reader.Size], Fixture.Token).AsTask());
        }

        await Assert.ThrowsAsync<KeyRoleException>(() => tenant.ExportAsync(OfA, Fixture.Token));
        await Assert.ThrowsAsync<KeyRoleException>(() => tenant.AddKeyAsync(OfA, Maintenance, "", Fixture.Token));
        Assert.Equal("a", (await tenant.ListKeysAsync(Fixture.Token)).Single(key => key.Domain == "a").Domain);
    }

    [Fact]
    public async Task DomainKey_OpensNoChunkOfAnotherDomain_ByWhateverWay()
    {
        var (store, points) = await MakeAsync();
        using var tenant = await OpenAsync(store, OfA);
        using var full = await OpenAsync(store, Full);
        var (opened, all) = (0, 0);
        var owns = new DataKeys(tenant.Context.Keys, Domains[1..]);
        var every = new DataKeys(full.Context.Keys, Domains[1..]);
        var segments = points.Values.SelectMany(point => point.Index).Select(segment => segment.Key).ToArray();
        var writers = points.ToDictionary(entry => $"/{entry.Value.Run}/", entry => entry.Key);
        await foreach (var (pack, entry) in PackEntries.OfAsync(full.Context, segments, _ => true, null, Fixture.Token))
        {
            if (entry.Kind != BlobKind.Chunk)
                continue;
            all++;
            var domain = writers.Single(writer => pack.Contains(writer.Key, StringComparison.Ordinal)).Value;
            Assert.True(await BlobProbe.OpensAsync(full.Context, every, pack, entry, Fixture.Token));
            var opens = await BlobProbe.OpensAsync(tenant.Context, owns, pack, entry, Fixture.Token);
            Assert.Equal(domain == "a", opens);
            opened += opens ? 1 : 0;
        }

        Assert.True(opened > 0 && all >= 3 * opened, $"{opened} of {all} chunks opened.");
    }

    [Fact]
    public async Task EqualContent_IsStoredOncePerDomain()
    {
        var (store, points) = await MakeAsync();
        Assert.Equal(3, points.Values.Select(point => point.Disk("vda").Root).Distinct().Count());
        Assert.All(points.Values, point => Assert.Equal(points[""].Disk("vda").StoredBytes, point.Disk("vda").StoredBytes));
        using var tenant = await OpenAsync(store, OfA, writer: 2);
        var again = await BackUpAsync(tenant, "machine-of-a-too", null);
        Assert.Equal("a", again.Domain);
        Assert.Equal(points["a"].Disk("vda").Root, again.Disk("vda").Root);
        Assert.Equal(0, again.Disk("vda").StoredBytes);
        await Fixture.AssertHoldsAsync(tenant, again.Disk("vda"), Content());
        await Assert.ThrowsAsync<ArgumentException>(() => BackUpAsync(tenant, "machine-b", "a", points["b"]));
    }

    [Fact]
    public async Task Domain_IsRegisteredBeforeAnythingIsWrittenInIt()
    {
        var store = new MemoryStore();
        using var repository = await InitAsync(store, Full);
        await BackUpAsync(repository, "machine-c", "c");
        var order = store.Created.ToList();
        var registered = order.IndexOf("gc/feature/read/domain-c");
        Assert.InRange(registered, 0, order.FindIndex(key => key.StartsWith("runs/", StringComparison.Ordinal)));
        using var opened = await OpenAsync(store, Full);

        // What follows is how a program that does not know domains sees it.
        store.Objects["gc/feature/read/domains-of-another-kind"] = [];
        await Assert.ThrowsAsync<FormatTooNewException>(() => OpenAsync(store, Full));
    }

    [Fact]
    public async Task NoEncryptionOrNoName_GivesNoDomain()
    {
        using var open = await InitAsync(new MemoryStore(), Credentials.None);
        await Assert.ThrowsAsync<KeyRoleException>(() => BackUpAsync(open, "machine-x", "a"));
        using var closed = await InitAsync(new MemoryStore(), Full);
        await Assert.ThrowsAsync<ArgumentException>(() => BackUpAsync(closed, "machine-x", "A/b"));
        var nameless = new NewKey { Credentials = OfA, Role = KeyRole.Domain };
        await Assert.ThrowsAsync<InvalidOperationException>(() => closed.AddKeyAsync(Full, nameless, Fixture.Token));
    }

    /// <summary>Packs become sparse and are moved together, so that one pack holds chunks of several domains.</summary>
    [Fact]
    public async Task MaintenanceKey_CollectsAndMovesAcrossDomains()
    {
        var (store, points) = await MakeAsync();
        var later = new Dictionary<string, (RestorePoint Point, byte[] Content)>();
        using (var full = await OpenAsync(store, Full))
        {
            foreach (var (domain, point) in points)
            {
                var content = Content();
                new Random(7).NextBytes(content.AsSpan(1 << 18)); // the first chunks stay, all others are new
                var next = await BackUpAsync(full, point.MachineId.Value, domain, point, content);
                later.Add(domain, (next, content));
                await full.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
            }
        }

        store.Now += TimeSpan.FromHours(25);
        using (var cleaner = await OpenAsync(store, Maintenance))
        {
            var result = await cleaner.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
            Assert.True(result.MovedBytes > 0, "Nothing was moved.");
            Assert.True(result.DeletedBytes > 0, "Nothing was given back.");
        }

        using var fresh = await OpenAsync(store, Full);
        foreach (var (point, content) in later.Values)
            await Fixture.AssertHoldsAsync(fresh, point.Disk("vda"), content);
        var verified = await fresh.VerifyAsync(
            new VerifyOptions { Level = VerifyLevel.Data, Budget = VerifyBudget.OfBytes(long.MaxValue) }, null, Fixture.Token);
        Assert.True(verified.IsSound, string.Join(' ', verified.Damaged.Select(damage => damage.Problem)));
        Assert.Equal(verified.Packs, verified.CheckedPacks);
        using var tenant = await OpenAsync(store, OfB);
        await Fixture.AssertHoldsAsync(tenant, later["b"].Point.Disk("vda"), later["b"].Content);
    }

    /// <summary>Two writers with equal chunks at once: a collector with the full key can tell that either copy is right.</summary>
    [Fact]
    public async Task CopiesOfTwoWritersInADomain_AreFoldedByTheFullKey()
    {
        var store = new MemoryStore();
        using var full = await InitAsync(store, Full);
        using var other = await OpenAsync(store, Full, writer: 2);
        await using var left = await BeginAsync(full, "machine-1", "a", [], 1);
        await using var right = await BeginAsync(other, "machine-2", "a", [], 2);
        var content = Content();
        await left.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(left, "vda", content)), Fixture.Token);
        await right.CommitAsync(Fixture.DraftOf(await Fixture.WriteAsync(right, "vda", content)), Fixture.Token);
        using var collector = await OpenAsync(store, Full, writer: 3);
        await collector.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
        Assert.Single(store.Objects.Keys, key => key.StartsWith("packs/", StringComparison.Ordinal) && key.Contains("/d-"));
        using var fresh = await OpenAsync(store, Full);
        foreach (var point in (await fresh.ListPointsAsync(null, Fixture.Token)).Points)
            await Fixture.AssertHoldsAsync(fresh, point.Disk("vda"), content);
    }

    [Fact]
    public async Task Undo_BringsAPointBackInItsDomain()
    {
        var (store, points) = await MakeAsync();
        using var full = await OpenAsync(store, Full);
        await full.RetireAsync(points["b"].MachineId, points["b"].Id, null, Fixture.Token);
        var back = await full.UndoAsync(points["b"].MachineId, points["b"].Id, Fixture.Token);
        Assert.Equal("b", back.Domain);
        using var tenant = await OpenAsync(store, OfB);
        var listed = (await tenant.ListPointsAsync(back.MachineId, Fixture.Token)).Points.Single();
        await Fixture.AssertHoldsAsync(tenant, listed.Disk("vda"), Content());
    }

    [Theory]
    [InlineData("twin")]
    [InlineData("other key")]
    [InlineData("no encryption")]
    public async Task Copy_KeepsEachPointInItsDomain(string kind)
    {
        var (store, points) = await MakeAsync();
        using var source = await OpenAsync(store, Full, writer: 9);
        var targetStore = new MemoryStore();
        var credentials = kind switch
        {
            "twin" => Credentials.FromKeyFile(await source.ExportAsync(Full, Fixture.Token)),
            "other key" => Full,
            _ => Credentials.None,
        };
        using var target = await InitAsync(targetStore, credentials);
        foreach (var (domain, point) in points)
        {
            var next = await BackUpAsync(source, point.MachineId.Value, domain, point);
            foreach (var one in new[] { point, next })
            {
                var here = (await source.ListPointsAsync(null, Fixture.Token)).Points;
                var there = (await target.ListPointsAsync(null, Fixture.Token)).Points;
                var result = await source.CopyToAsync(target, source.PlanCopy(one, here, there), null, Fixture.Token);
                Assert.Equal(kind == "no encryption" ? "" : domain, result.Point.Domain);
                Assert.Equal(kind == "twin", result.Point.Disk("vda").Root == one.Disk("vda").Root);
                await Fixture.AssertHoldsAsync(target, result.Point.Disk("vda"), Content());
                if (one == next)
                    Assert.Equal(0, result.ReadBytes);
            }
        }

        Assert.True((await target.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        using var tenant = await OpenAsync(store, OfA);
        var step = new CopyStep(points["b"], null, null);
        await Assert.ThrowsAsync<KeyRoleException>(() => tenant.CopyToAsync(target, step, null, Fixture.Token));
    }

    [Theory]
    [InlineData(VerifyLevel.Packs)]
    [InlineData(VerifyLevel.Data)]
    public async Task DamageInADomain_IsFoundWithAnyKeyAndHealedByItsTenant(VerifyLevel level)
    {
        foreach (var (credentials, domain) in new[] { (Full, ""), (OfA, "a") })
        {
            var (store, points) = await MakeAsync();
            var pack = store.Objects.Keys.Single(key => key.Contains($"/{points["a"].Run}/d-", StringComparison.Ordinal));
            DamageTests.Damage(store, pack, "flip");
            using (var finder = await OpenAsync(store, credentials))
            {
                var found = await finder.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
                Assert.Equal(pack, Assert.Single(found.Damaged).Key);
                Assert.Equal(points["a"].Id, Assert.Single(Assert.Single(found.Damaged).Affected).Id);
                Assert.Equal(level == VerifyLevel.Data && domain == "a" ? 2 : 0, found.OtherDomains);
            }

            using (var stranger = await OpenAsync(store, OfB, writer: 2)) // has the same bytes, which are of no use
                await BackUpAsync(stranger, "machine-b", null, points["b"]);
            using (var looking = await OpenAsync(store, Full))
                Assert.Single((await looking.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).Damaged);
            using (var tenant = await OpenAsync(store, OfA, writer: 3))
                await BackUpAsync(tenant, "machine-a", null, points["a"]);
            using var later = await OpenAsync(store, Full);
            var healed = await later.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
            Assert.True(healed.IsSound, string.Join(' ', healed.Damaged.Select(damage => damage.Problem)));
            Assert.Equal([pack], healed.Healed);
            await Fixture.AssertHoldsAsync(later, points["a"].Disk("vda"), Content());
        }
    }

    [Fact]
    public async Task CheckOfWholePacksPartByPart_NeedsAFullKey()
    {
        var (store, _) = await MakeAsync();
        using var tenant = await OpenAsync(store, OfA);
        var options = new VerifyOptions { Level = VerifyLevel.Data, Budget = VerifyBudget.OfBytes(long.MaxValue) };
        await Assert.ThrowsAsync<KeyRoleException>(() => tenant.VerifyAsync(options, null, Fixture.Token));
        foreach (var level in Enum.GetValues<VerifyLevel>())
            Assert.True((await tenant.VerifyAsync(level, null, null, Fixture.Token)).IsSound);
    }

    private static byte[] Content() => Fixture.Content(new Random(61), 3 << 20);

    // The same disk and a file, by one writer, in no domain and in two.
    private static async Task<(MemoryStore Store, Dictionary<string, RestorePoint> Points)> MakeAsync()
    {
        var store = new MemoryStore { Now = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) };
        using var repository = await InitAsync(store, Full);
        foreach (var (credentials, domain) in new[] { (OfA, "a"), (OfB, "b") })
        {
            await repository.AddKeyAsync(
                Full, new NewKey { Credentials = credentials, Role = KeyRole.Domain, Domain = domain }, Fixture.Token);
        }

        await repository.AddKeyAsync(Full, new NewKey { Credentials = Maintenance, Role = KeyRole.Maintenance }, Fixture.Token);
        var points = new Dictionary<string, RestorePoint>();
        foreach (var domain in Domains)
            points.Add(domain, await BackUpAsync(repository, $"machine-{domain}", domain));
        return (store, points);
    }

    private static async Task<RestorePoint> BackUpAsync(
        Repository repository, string machine, string? domain, RestorePoint? origin = null, byte[]? content = null)
    {
        await using var run = await BeginAsync(repository, machine, domain, origin is null ? [] : [origin]);
        var disk = await Fixture.WriteAsync(run, "vda", content ?? Content(), origin?.Disk("vda").Tree);
        var name = domain ?? repository.Domain;
        var file = await run.StoreFileAsync("nvram", Encoding.ASCII.GetBytes($"nvram of {name}"), Fixture.Token);
        return await run.CommitAsync(Fixture.DraftOf(disk) with { Files = [file] }, Fixture.Token);
    }

    private static Task<BackupRun> BeginAsync(
        Repository repository, string machine, string? domain, IReadOnlyList<RestorePoint> bases, int order = 0)
    {
        var options = new BackupRunOptions { Domain = domain, Bases = bases, Workers = 1 };
        if (order > 0)
            options = options with { Id = new RunId(Guid.CreateVersion7(DateTimeOffset.UnixEpoch.AddDays(order))) };
        return repository.BeginRunAsync(new MachineId(machine), options, Fixture.Token);
    }

    private static Task<Repository> InitAsync(IObjectStore store, Credentials credentials) =>
        Repository.InitAsync(store, new InitOptions { Credentials = credentials }, Fixture.OptionsOf(1), Fixture.Token);

    private static Task<Repository> OpenAsync(IObjectStore store, Credentials credentials, ulong writer = 1) =>
        Repository.OpenAsync(store, credentials, Fixture.OptionsOf(writer), Fixture.Token);
}
