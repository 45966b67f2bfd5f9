// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>A repository in memory, the content of every point made in it, and the store's clock.</summary>
internal sealed class CollectorLab
{
    private readonly Dictionary<(RunId Run, string Disk), byte[]> _contents = [];

    private CollectorLab(MemoryStore store, Repository repository) => (Store, Repository) = (store, repository);

    public MemoryStore Store { get; }

    public Repository Repository { get; }

    public long PackBytes => Store.Objects.Where(entry => entry.Key.StartsWith("packs/", StringComparison.Ordinal))
        .Sum(entry => (long)entry.Value.Length);

    /// <param name="deleteBatch">How many objects the store deletes with one request.</param>
    public static async Task<CollectorLab> CreateAsync(int deleteBatch = 1)
    {
        var store = new MemoryStore { DeleteBatch = deleteBatch, Now = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) };
        return new CollectorLab(store, await Fixture.InitAsync(store, encrypted: false));
    }

    /// <summary>The same in a copy of the store.</summary>
    public async Task<CollectorLab> CopyAsync()
    {
        var store = Store.Copy();
        var copy = new CollectorLab(store, await Fixture.OpenAsync(store, encrypted: false));
        foreach (var (key, content) in _contents)
            copy._contents.Add(key, content);
        return copy;
    }

    public byte[] ContentOf(RestorePoint point, string disk = "vda") => _contents[(point.Id, disk)];

    public void Adopt(RestorePoint point, byte[] content) => _contents[(point.Id, "vda")] = content;

    public Task<RestorePoint> BackUpAsync(string machine, int length, int seed)
    {
        var content = new byte[length];
        new Random(seed).NextBytes(content);
        return BackUpContentAsync(machine, content, null, null);
    }

    public async Task<RestorePoint> BackUpContentAsync(
        string machine, byte[] content, RestorePoint? origin, IEnumerable<long>? changed, Repository? repository = null)
    {
        var options = new BackupRunOptions { Bases = origin is null ? [] : [origin], Workers = 1 };
        await using var run = await (repository ?? Repository).BeginRunAsync(new MachineId(machine), options, Fixture.Token);
        var result = await Fixture.WriteAsync(run, "vda", content, origin?.Disk("vda").Tree, changed);
        var point = await run.CommitAsync(Fixture.DraftOf(result), Fixture.Token);
        lock (_contents)
            Adopt(point, content);
        return point;
    }

    public async Task<RestorePoint> BackUpTwoDisksAsync(string machine, int seed)
    {
        var contents = new[] { new byte[600_000], new byte[700_000] };
        foreach (var content in contents)
            new Random(seed++).NextBytes(content);
        await using var run = await Repository.BeginRunAsync(new MachineId(machine), new BackupRunOptions { Workers = 1 }, Fixture.Token);
        var first = await Fixture.WriteAsync(run, "vda", contents[0]);
        var second = await Fixture.WriteAsync(run, "vdb", contents[1]);
        var point = await run.CommitAsync(Fixture.DraftOf(first, second), Fixture.Token);
        _contents[(point.Id, "vda")] = contents[0];
        _contents[(point.Id, "vdb")] = contents[1];
        return point;
    }

    /// <summary>Makes a run write a durable pack, without committing it.</summary>
    public async Task WritePackAsync(BackupRun run, int seed)
    {
        await using var packs = new PackWriter(
            Repository.Context, run.Id, isData: true, new RunCounters(), _ => Task.CompletedTask, failure => Assert.Fail(failure.Message),
            Fixture.Token);
        var blob = new byte[1000];
        new Random(seed).NextBytes(blob);
        await packs.AppendAsync(new StoredBlob(), BlobId.From(blob), 65_536, BlobKind.Chunk, BlobCompression.None, blob);
        await packs.FinishAsync();
    }

    public async Task RetireAllAsync()
    {
        foreach (var point in await PointsAsync())
            await Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
    }

    /// <summary>Deletes a point, and collects at once what only it held.</summary>
    public async Task DeleteNowAsync(RestorePoint point)
    {
        await Repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        Store.Now += TimeSpan.FromMinutes(1);
        await CollectAsync(new CollectOptions { MaxDeletePercent = 100, UndoWindow = TimeSpan.Zero });
    }

    /// <summary>Does something before the N-th read below a prefix.</summary>
    public void OnRead(string prefix, int number, Func<Task> work)
    {
        var reads = 0;
        Store.BeforeRead = key =>
        {
            if (!key.StartsWith(prefix, StringComparison.Ordinal) || Interlocked.Increment(ref reads) != number)
                return;
            Store.BeforeRead = null;
            Task.Run(work).GetAwaiter().GetResult();
        };
    }

    public async Task<IReadOnlyList<RestorePoint>> PointsAsync() => (await Repository.ListPointsAsync(null, Fixture.Token)).Points;

    /// <summary>Collects without a limit on what goes at once.</summary>
    public Task<CollectResult> CollectAsync(CollectOptions? options = null) =>
        Repository.CollectAsync(options ?? new CollectOptions { MaxDeletePercent = 100 }, null, Fixture.Token);

    /// <summary>Every point that is listed holds what was backed up, seen by a program that has cached nothing.</summary>
    public async Task AssertAllHoldAsync()
    {
        using var fresh = await Fixture.OpenAsync(Store, encrypted: false);
        var listing = await fresh.ListPointsAsync(null, Fixture.Token);
        Assert.Empty(listing.Damaged);
        foreach (var point in listing.Points)
        {
            foreach (var disk in point.Disks)
            {
                var content = await Fixture.ReadAsync(fresh, disk);
                Assert.True(ContentOf(point, disk.Name).AsSpan().SequenceEqual(content), $"Disk '{disk.Name}' of '{point.Id}' differs.");
            }
        }

        var verified = await fresh.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token);
        Assert.True(verified.IsSound, string.Join(' ', verified.Damaged.Select(damage => damage.Problem)));
    }
}
