// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

/// <summary>
/// A folder whose real file system is full from the N-th file on that a backup or a collection creates, for every N: of bytes, or of
/// names, when even a file of 0 bytes can't be made.
/// </summary>
public sealed class FullFolderTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-full-").FullName;
    private readonly byte[] _before = Noise(41, 700_000);
    private readonly byte[] _after;
    private SmallFolder? _small;

    public FullFolderTests()
    {
        _after = _before.ToArray();
        new Random(42).NextBytes(_after.AsSpan(0, 450_000));
    }

    private static CollectOptions Everything => new() { UndoWindow = TimeSpan.Zero, MaxDeletePercent = 100 };

    private string Root => Path.Combine(_small!.Path, "repository");

    public async ValueTask InitializeAsync()
    {
        _small = await SmallFolder.TryMountAsync(Path.Combine(_folder, "small"), 16);
        Assert.SkipWhen(_small is null, "a small file system cannot be mounted here: it needs root");
    }

    public async ValueTask DisposeAsync()
    {
        if (_small is not null)
            await _small.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(Room.Bytes)]
    [InlineData(Room.Names)]
    public async Task FullInABackup_NothingIsHalfThere_AndTheNextOneAdoptsWhatWasWritten(Room what)
    {
        await MakeAsync(retire: false);
        var template = await SaveAsync();
        var (failed, adopted) = (0, 0);
        for (var n = 1; ; n++)
        {
            var files = new FillingFiles(_small!, n, what);
            var failure = await TryAsync(files, async repository =>
            {
                var origin = (await repository.ListPointsAsync(null, Fixture.Token)).Points[0];
                return await Fixture.BackUpAsync(repository, _after, origin, options: new BackupRunOptions { Workers = 1 });
            });
            Assert.Equal(files.HasFilled, failure is not null);
            failed += failure is null ? 0 : 1;
            await AssertHoldsAsync(failure is null ? [_after, _before] : [_before]);
            if (failure is null)
                break;
            Assert.Contains($"Folder '{Root}' is full: could not write '", failure.Message, StringComparison.Ordinal);
            _small!.Release();
            adopted += await AssertNextBackupAsync();
            Restore(template);
        }

        Assert.True(failed >= 5, $"Only {failed} files were tried.");
        Assert.True(adopted >= 2, $"Only {adopted} of {failed} runs left something to adopt.");
    }

    [Theory]
    [InlineData(Room.Bytes)]
    [InlineData(Room.Names)]
    public async Task FullInACollection_LosesNothing_AndTheNextOneGivesSpaceBack(Room what)
    {
        await MakeAsync(retire: true);
        var template = await SaveAsync();
        await CollectTwiceAsync();
        var clean = PacksIn(Root);
        Restore(template);
        Assert.True(PacksIn(Root) > clean + 200_000);
        var failed = 0;
        for (var n = 1; ; n++)
        {
            var files = new FillingFiles(_small!, n, what);
            var failure = await TryAsync(files, repository => repository.CollectAsync(Everything, null, Fixture.Token));
            failed += failure is null ? 0 : 1;
            await AssertHoldsAsync([_after]);
            if (!files.HasFilled)
                break;
            if (failure is not null)
                Assert.Contains("gc writes about 1 MiB before it deletes anything.", failure.Message, StringComparison.Ordinal);
            _small!.Release();
            await CollectTwiceAsync();
            await AssertHoldsAsync([_after]);
            Assert.InRange(PacksIn(Root), clean - 2000, clean + 2000); // the same blobs, packed otherwise
            Restore(template);
        }

        Assert.True(failed >= 8, $"Only {failed} files were tried.");
    }

    [Fact]
    public async Task FullInTheProbeOfACollection_IsNotTakenForAStoreWithoutAtomicCreate()
    {
        await MakeAsync(retire: true);
        var files = new FillingFiles(_small!, 12, Room.Bytes); // of 32 probing writers
        await using var store = new FolderStore(Root, files);
        using var repository = await Fixture.OpenAsync(store);
        var failure = await Assert.ThrowsAsync<StoreFullException>(() => repository.CollectAsync(Everything, null, Fixture.Token));
        Assert.Contains($"Folder '{Root}' is full", failure.Message, StringComparison.Ordinal);
        Assert.Contains("MiB", failure.Hint, StringComparison.Ordinal);
        _small!.Release();
        Assert.NotEqual(0, (await repository.CollectAsync(Everything, null, Fixture.Token)).DeletedBytes);
        await AssertHoldsAsync([_after]);
    }

    /// <summary>Backups fill the file system; what they leave is enough to give space back, and then the backup passes.</summary>
    [Fact]
    public async Task FolderFullOfBackups_GivesSpaceBack()
    {
        await using var store = new FolderStore(Root);
        using var repository = await Fixture.InitAsync(store);
        var contents = Enumerable.Range(0, 20).Select(seed => Noise(seed, 1_500_000)).ToArray();
        var made = new List<RestorePoint>();
        var failure = await Assert.ThrowsAsync<StoreFullException>(async () =>
        {
            foreach (var content in contents)
                made.Add(await Fixture.BackUpAsync(repository, content));
        });
        Assert.Contains($"Folder '{Root}' is full", failure.Message, StringComparison.Ordinal);
        Assert.Contains("to gc", failure.Message, StringComparison.Ordinal);
        Assert.True(new DriveInfo(Root).AvailableFreeSpace > 0);
        Assert.True(made.Count > 5, $"Only {made.Count} points fit.");
        await repository.RetireAsync(made[1].MachineId, made[1].Id, null, Fixture.Token);
        var freed = await repository.CollectAsync(Everything, null, Fixture.Token);
        Assert.InRange(freed.DeletedBytes, 1_400_000, long.MaxValue);
        var next = await Fixture.BackUpAsync(repository, contents[made.Count]);
        await Fixture.AssertHoldsAsync(repository, next.Disk("vda"), contents[made.Count]);
        await Fixture.AssertHoldsAsync(repository, made[0].Disk("vda"), contents[0]);
    }

    /// <summary>Sparse packs are not moved where there is no room for it; the dead ones go all the same.</summary>
    [Fact]
    public async Task NoRoomToMove_DeletesWhatIsDead()
    {
        await using var store = new FolderStore(Root, new CrampedFiles());
        using var repository = await Fixture.InitAsync(new FolderStore(Root));
        var content = Noise(1, 1_000_000);
        var first = await Fixture.BackUpAsync(repository, content);
        var changed = Noise(2, 1_000_000);
        content.AsSpan(0, 200_000).CopyTo(changed);
        var second = await Fixture.BackUpAsync(repository, changed, first); // keeps a fifth of the first one's pack
        var dead = await Fixture.BackUpAsync(repository, Noise(3, 1_000_000));
        foreach (var point in new[] { first, dead })
            await repository.RetireAsync(point.MachineId, point.Id, null, Fixture.Token);
        using var cramped = await Fixture.OpenAsync(store);
        var result = await cramped.CollectAsync(Everything, null, Fixture.Token);
        Assert.Equal(0, result.MovedBytes);
        Assert.Contains(result.Packs, pack => pack.Key.Contains($"{dead.Id}/d-", StringComparison.Ordinal));
        Assert.DoesNotContain(result.Packs, pack => pack.Key.Contains($"{first.Id}/d-", StringComparison.Ordinal));
        await AssertHoldsAsync([changed]);
        var later = await repository.CollectAsync(Everything, null, Fixture.Token);
        Assert.Contains(later.Packs, pack => pack.Key.Contains($"{first.Id}/d-", StringComparison.Ordinal) && pack.Why == "moved");
        await AssertHoldsAsync([changed]);
        Assert.Equal(second.Id, Assert.Single((await repository.ListPointsAsync(null, Fixture.Token)).Points).Id);
    }

    private static byte[] Noise(int seed, int length)
    {
        var content = new byte[length];
        new Random(seed).NextBytes(content);
        return content;
    }

    // A repository with a point, or with one that was deleted and one that shares some of its chunks.
    private async Task MakeAsync(bool retire)
    {
        await using var store = new FolderStore(Root);
        using var repository = await Fixture.InitAsync(store);
        var first = await Fixture.BackUpAsync(repository, _before);
        if (!retire)
            return;
        await Fixture.BackUpAsync(repository, _after, first);
        await repository.RetireAsync(first.MachineId, first.Id, null, Fixture.Token);
    }

    private async Task CollectTwiceAsync()
    {
        await FenceAllAsync();
        for (var round = 1; round <= 2; round++)
            Assert.Null(await TryAsync(FolderFiles.OfHost, repository => repository.CollectAsync(Everything, null, Fixture.Token)));
    }

    private async Task<string> SaveAsync()
    {
        var template = Path.Combine(_folder, "template");
        await Task.Run(() => Copy(Root, template), Fixture.Token);
        return template;
    }

    private void Restore(string template)
    {
        Directory.Delete(Root, recursive: true);
        Copy(template, Root);
    }

    private async Task<StoreFullException?> TryAsync<T>(FolderFiles files, Func<Repository, Task<T>> work)
    {
        await using var store = new Unprobed(new FolderStore(Root, files));
        try
        {
            using var repository = await Fixture.OpenAsync(store);
            await work(repository);
            return null;
        }
        catch (StoreFullException failure)
        {
            return failure;
        }
    }

    // Read while it is full, and verified: newest first.
    private async Task AssertHoldsAsync(byte[][] expected)
    {
        Assert.Empty(Directory.GetFiles(Path.Combine(Root, "tmp")));
        await using var store = new FolderStore(Root);
        using var repository = await Fixture.OpenAsync(store);
        var listing = await repository.ListPointsAsync(null, Fixture.Token);
        Assert.Empty(listing.Damaged);
        Assert.Equal(expected.Length, listing.Points.Count);
        foreach (var (point, content) in listing.Points.Zip(expected))
        {
            await using var reading = await repository.BeginReadAsync(point, Fixture.Token);
            await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
        }

        foreach (var level in (VerifyLevel[])[VerifyLevel.Packs, VerifyLevel.Data])
            Assert.True((await repository.VerifyAsync(level, null, null, Fixture.Token)).IsSound);
    }

    // Returns 1 when something was adopted.
    private async Task<int> AssertNextBackupAsync()
    {
        await using var store = new FolderStore(Root);
        using var repository = await Fixture.OpenAsync(store);
        var origin = Assert.Single((await repository.ListPointsAsync(null, Fixture.Token)).Points);
        await FenceAllAsync();
        var point = await Fixture.BackUpAsync(repository, _after, origin);
        await AssertHoldsAsync([_after, _before]);
        await repository.CollectAsync(Everything, null, Fixture.Token);
        await AssertHoldsAsync([_after, _before]);
        return point.NewBytes < 100_000 ? 1 : 0;
    }

    // What the next start of a host does for its dead processes: this one lives on.
    private async Task FenceAllAsync()
    {
        await using var store = new FolderStore(Root);
        foreach (var run in await RunListing.ReadAsync(store, null, Fixture.Token))
            await RunFence.FenceAsync(store, ObjectNames.Fence(run.Machine, run.Id), Fixture.Token);
    }

    private static long PacksIn(string folder) =>
        Directory.GetFiles(Path.Combine(folder, "packs"), "*", SearchOption.AllDirectories).Sum(path => new FileInfo(path).Length);

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var folder in Directory.GetDirectories(from, "*", SearchOption.AllDirectories))
            Directory.CreateDirectory(Path.Combine(to, Path.GetRelativePath(from, folder)));
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
            File.Copy(file, Path.Combine(to, Path.GetRelativePath(from, file)));
    }

    // Someone else takes the rest of the file system before the N-th file is created; nobody knows how much there is.
    private sealed class FillingFiles(SmallFolder folder, int fillAt, Room what) : FolderFiles
    {
        private int _creates;

        public bool HasFilled => Volatile.Read(ref _creates) >= fillAt;

        public override SafeFileHandle Create(string path)
        {
            if (Interlocked.Increment(ref _creates) == fillAt)
                folder.Fill(what);
            return base.Create(path);
        }

        public override (long Free, long Total)? Room(string path) => null;
    }

    // Only what packs leave is left.
    private sealed class CrampedFiles : FolderFiles
    {
        public override (long Free, long Total)? Room(string path) => (FolderStore.KeptFree(16 << 20), 16 << 20);
    }
}
