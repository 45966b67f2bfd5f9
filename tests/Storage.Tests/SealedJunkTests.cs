// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>
/// What a host with a full key can seal: JSON that is well formed, opens under its key, and is none of ours. It is damaged, and stops
/// nobody at anything else.
/// </summary>
public sealed class SealedJunkTests
{
    private static readonly MachineId Hostile = new("hostile");

    [Theory]
    [InlineData(""" "machine":null """)]
    [InlineData(""" "run":null """)]
    [InlineData(""" "domain":null """)]
    [InlineData(""" "tags":[null] """)]
    [InlineData(""" "warnings":null """)]
    [InlineData(""" "files":[null] """)]
    [InlineData(""" "index":[null] """)]
    [InlineData(""" "index":[{}] """)]
    [InlineData(""" "notProtected":[{"name":"vda"}] """)]
    [InlineData(""" "copied":{} """)]
    [InlineData(""" "checkpoints":{"records":[{"name":"x"}]} """)]
    [InlineData(""" "disks":null """)]
    [InlineData(""" "disks":[null] """)]
    [InlineData(""" "disks":[{DISK,"root":null}] """)]
    [InlineData(""" "disks":[{DISK,"name":null}] """)]
    [InlineData(""" "disks":[{DISK,"hint":{"off":1}}] """)]
    [InlineData(""" "disks":[{DISK,"suspects":[null]}] """)]
    [InlineData(""" "disks":[{DISK,"missed":[null]}] """)]
    [InlineData(""" "disks":[{DISK,"audit":{"covered":[null],"witnesses":[]}}] """)]
    [InlineData(""" "disks":[{DISK,"format":{"type":null}}] """)]
    [InlineData(""" "disks":[{DISK,"backing":[{"path":null}]}] """)]
    public async Task SealedPointThatIsNone_IsDamagedAndStopsNobody(string junk)
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(101), 1 << 20);
        var first = await Fixture.BackUpAsync(honest, content);
        var run = RunId.New();
        var key = SealPoint(store, honest, run, junk);

        using var reader = await Fixture.OpenAsync(store);
        var listing = await reader.ListReadablePointsAsync(null, Fixture.Token);
        Assert.Equal(key, Assert.Single(listing.Damaged).DamagedObject);
        await Fixture.AssertHoldsAsync(reader, Assert.Single(listing.Points).Disk("vda"), content);
        foreach (var level in Enum.GetValues<VerifyLevel>())
            Assert.Equal(key, Assert.Single((await reader.VerifyAsync(level, null, null, Fixture.Token)).Damaged).Key);
        await Fixture.BackUpAsync(reader, content, first, []);
        var options = new CollectOptions { MaxDeletePercent = 100 };
        var refusal = await Assert.ThrowsAsync<RepositoryDamagedException>(() => reader.CollectAsync(options, null, Fixture.Token));
        Assert.Equal(key, refusal.DamagedObject);
        await reader.RetireDamagedAsync(Hostile, run, Fixture.Token);
        Assert.Empty((await reader.ListPointsAsync(null, Fixture.Token)).Damaged);
        store.Now += TimeSpan.FromHours(25);
        await reader.CollectAsync(options, null, Fixture.Token);
    }

    [Theory]
    [InlineData(""" "unknown":[null] """)]
    [InlineData(""" "prev":null,"domainXml":null,"copied":null,"checkpoints":null """)]
    [InlineData(""" "checkpoints":{"records":[{"name":"x","created":"2026-01-01T00:00:00Z","disks":[{"name":"vda"}]}]} """)]
    [InlineData(""" "disks":[{DISK}] """)]
    [InlineData(""" "disks":[{DISK,"hint":null,"suspects":null,"backing":[{}]}] """)]
    [InlineData(""" "disks":[{DISK,"audit":{"seq":1,"covered":[{"to":1,"seq":0}],"witnesses":[]}}] """)]
    public async Task PointThatLeavesOutWhatItMay_IsRead(string members)
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var run = RunId.New();
        SealPoint(store, repository, run, members);
        var listing = await repository.ListPointsAsync(null, Fixture.Token);
        Assert.Empty(listing.Damaged);
        Assert.Equal(run, Assert.Single(listing.Points).Id);
    }

    [Fact]
    public async Task SealedRecordsThatAreNone_AreSurvived()
    {
        var store = new MemoryStore();
        using var honest = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(102), 1 << 20);
        var first = await Fixture.BackUpAsync(honest, content);
        var pack = store.Objects.Keys.First(key => key.Contains("/d-", StringComparison.Ordinal));
        var records = new List<(string Key, string Json)>();
        string[] labels =
        [
            """ "tags":null """, """ "tags":{"a":null} """, """ "removed":[null] """, """ "doubts":{"vda":null} """,
            """ "doubts":{"vda":null} """,
        ];
        foreach (var (number, junk) in labels.Index())
            records.Add((ObjectNames.Label(first.MachineId, first.Id, number + 1), $$"""{"tags":{},"removed":[],{{junk}}}"""));
        foreach (var (number, junk) in new[] { """ "blobs":[null] """, """ "problem":null,"blobs":[] """ }.Index())
            records.Add((ObjectNames.QuarantineOf(pack, number), $$"""{"host":"","problem":"",{{junk}}}"""));
        foreach (var junk in new[] { """ "checks":null """, """ "checks":[null] """, """ "checks":[{}] """, """ "folds":[null] """ })
            records.Add(($"{ObjectNames.Ledger}209901/{RunId.New()}", $$"""{"host":"","checks":[],"folds":[],{{junk}}}"""));
        string[] runs =
        [
            """ "purpose":null """, """ "pins":null """, """ "pins":[null] """, """ "pins":[{}] """, """ "process":{} """,
        ];
        foreach (var junk in runs)
            records.Add((
                ObjectNames.Run(new WriterId(1), Hostile.Value, RunId.New()),
                $$"""{"purpose":"backup","machine":"","writer":"","host":"","pins":[],{{junk}}}"""));
        records.Add((ObjectNames.Run(new WriterId(1), Hostile.Value, RunId.New()), "null"));
        foreach (var (key, json) in records)
            Assert.True(store.Objects.TryAdd(key, honest.Context.Close(key, Encoding.UTF8.GetBytes(json))));
        store.Objects["keys/0123456789abcdef"] = """{"v":1,"kdf":null,"role":null,"wrapped":null}"""u8.ToArray();

        using var reader = await Fixture.OpenAsync(store);
        var listing = await reader.ListPointsAsync(null, Fixture.Token);
        Assert.All(listing.Damaged, damage => Assert.StartsWith("labels/", damage.DamagedObject, StringComparison.Ordinal));
        Assert.Equal(5, listing.Damaged.Count);
        await Fixture.AssertHoldsAsync(reader, Assert.Single(listing.Points).Disk("vda"), content);
        await reader.RevokeDeadRunsAsync(Fixture.Token);
        foreach (var level in Enum.GetValues<VerifyLevel>())
            await reader.VerifyAsync(new VerifyOptions { Level = level, Quarantine = true }, null, Fixture.Token);
        await Fixture.BackUpAsync(reader, content, first, [1]);
        store.Now += TimeSpan.FromHours(25);
        await reader.CollectAsync(new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);
        Assert.NotEmpty(await reader.ListKeysAsync(Fixture.Token));
    }

    [Fact]
    public async Task NodeWithAChildOfIdZero_IsNone()
    {
        using var repository = await Fixture.InitAsync(new MemoryStore());
        var bytes = new byte[TreeNode.MaxSize];
        var node = new TreeNode(0, 16);
        node.Set(3, repository.Context.Keys.ChunkId([1]), default);
        Assert.NotNull(TreeNode.TryRead(bytes.AsSpan(0, node.Write(bytes)), 0, 16, null, out _));
        node.Set(4, default, default);
        Assert.Null(TreeNode.TryRead(bytes.AsSpan(0, node.Write(bytes)), 0, 16, null, out _));
    }

    private static string SealPoint(MemoryStore store, Repository repository, RunId run, string members)
    {
        var key = ObjectNames.Point(Hostile, run);
        var disk = $"""
            "name":"vda","size":0,"chunkLog2":16,"depth":1,"root":"{default(BlobId)}","mode":"full"
            """;
        var json = $$"""
            {"v":1,"run":"{{run}}","machine":"{{Hostile}}","name":"","uuid":"","host":"","writer":"","time":"2026-01-01T00:00:00Z","seq":1,
            "domain":"","consistency":"","tags":[],"disks":[],"files":[],"notProtected":[],"warnings":[],"index":[],"newBytes":0,
            {{members.Replace("DISK", disk, StringComparison.Ordinal)}}}
            """;
        store.Objects[key] = repository.Context.Close(key, Encoding.UTF8.GetBytes(json));
        return key;
    }
}
