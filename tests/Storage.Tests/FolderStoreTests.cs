// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Microsoft.Win32.SafeHandles;
using Tidemark.Blocks;

namespace Tidemark.Storage.Tests;

public sealed class FolderStoreTests : StoreContract, IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-store-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Backups_ComeBackFromAnotherProcessOfTheFolder()
    {
        var content = Fixture.Content(new Random(1), 5 << 20);
        await using var store = Open();
        using var made = await Fixture.InitAsync(store);
        var first = await Fixture.BackUpAsync(made, content);
        await using var again = Open();
        using var repository = await Fixture.OpenAsync(again);
        var changed = content.ToArray();
        changed[70_000] ^= 1;
        var second = await Fixture.BackUpAsync(repository, changed, first, [1]);
        await Fixture.AssertHoldsAsync(repository, first.Disk("vda"), content);
        await Fixture.AssertHoldsAsync(repository, second.Disk("vda"), changed);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token)).IsSound);
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder, "tmp")));
        var pack = Directory.GetFiles(Path.Combine(_folder, "packs"), "d-*", SearchOption.AllDirectories)[0];
        Assert.Equal(Path.GetFileName(pack).Substring(2, 2), Path.GetFileName(Path.GetDirectoryName(pack)));
    }

    /// <summary>Whoever may write to the folder can put anything there: it is found out and told, at once.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatIsNoFolder_WhereOneWouldBe_IsToldAtOnce(bool isFifo)
    {
        await using var store = Open();
        await store.PutIfAbsentAsync("points/m/1", new byte[] { 1 }, Fixture.Token);
        var path = Path.Combine(_folder, "labels");
        if (isFifo)
            await Process.Start("mkfifo", [path]).WaitForExitAsync(Fixture.Token);
        else
            await File.WriteAllTextAsync(path, "no folder", Fixture.Token);
        var itself = Task.Run(async () => await store.ListAsync("labels/", Fixture.Token).CountAsync(Fixture.Token), Fixture.Token);
        var below = Task.Run(async () => await store.ListAsync("labels/m/", Fixture.Token).CountAsync(Fixture.Token), Fixture.Token);
        var lookingUp = Task.Run(async () => await store.HeadAsync("labels/m/1", Fixture.Token), Fixture.Token);
        foreach (var task in (Task[])[itself, below, lookingUp])
            await Assert.ThrowsAsync<StoreException>(() => task.WaitAsync(TimeSpan.FromSeconds(20), Fixture.Token));
        Assert.Equal(1, (await store.HeadAsync("points/m/1", Fixture.Token))?.Size);
    }

    [Fact]
    public async Task LargeUpload_OfAlignedAndOddPieces_KeepsTheirOrder()
    {
        await using var store = Open();
        using var block = AlignedPool.Rent(1 << 20);
        var expected = new MemoryStream();
        await using var upload = await store.StartUploadAsync(Fixture.Token);
        foreach (var length in new[] { 1 << 20, 1 << 20, 300_001, 1 << 20, 5 })
        {
            new Random(length).NextBytes(block.Memory.Span);
            expected.Write(block.Memory.Span[..length]);
            await upload.WriteAsync(block.Memory[..length], Fixture.Token);
        }

        Assert.True(await upload.CommitAsync("packs/a/b/d-00", Fixture.Token));
        var found = new byte[expected.Length + 1];
        Assert.Equal(expected.Length, await store.ReadAsync("packs/a/b/d-00", 0, found, Fixture.Token));
        Assert.True(found.AsSpan(0, (int)expected.Length).SequenceEqual(expected.ToArray()));
    }

    [Fact]
    public async Task UploadOfADeadProcess_IsSweptAndALiveOneIsNot()
    {
        await using var store = Open();
        await using var live = await store.StartUploadAsync(Fixture.Token);
        await live.WriteAsync(new byte[10], Fixture.Token);
        var tmp = Path.Combine(_folder, "tmp");
        var dead = Path.Combine(tmp, "dead");
        await File.WriteAllBytesAsync(dead, new byte[10], Fixture.Token);
        foreach (var file in Directory.GetFiles(tmp))
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddHours(-1));
        await using var next = Open();
        Assert.False(File.Exists(dead));
        Assert.Single(Directory.GetFiles(tmp));
        Assert.True(await live.CommitAsync("points/m/x", Fixture.Token));
    }

    [Fact]
    public async Task FileWhereAFolderShouldBe_IsAnErrorNotAnAbsence()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "points"), "x", Fixture.Token);
        await using var store = Open();
        await Assert.ThrowsAsync<StoreException>(() => store.PutIfAbsentAsync("points/m/x", new byte[1], Fixture.Token).AsTask());
        Directory.CreateDirectory(Path.Combine(_folder, "config"));
        await Assert.ThrowsAnyAsync<Exception>(() => Fixture.OpenAsync(store));
    }

    [Fact]
    public async Task FolderThatIsAFile_IsRefusedWithAReason()
    {
        var path = Path.Combine(_folder, "file");
        await File.WriteAllTextAsync(path, "x", Fixture.Token);
        await using var store = new FolderStore(path);
        var failure = await Assert.ThrowsAnyAsync<StoreException>(() => Fixture.InitAsync(store));
        Assert.Contains(path, failure.Message, StringComparison.Ordinal);
        Assert.False(failure.IsTransient);
    }

    [Fact]
    public async Task FolderWithOtherThings_IsNotMadeARepository()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "letter.txt"), "x", Fixture.Token);
        await using var store = Open();
        var failure = await Assert.ThrowsAsync<RepositoryExistsException>(() => Fixture.InitAsync(store));
        Assert.Contains("letter.txt", failure.Message, StringComparison.Ordinal);
    }

    /// <summary>A medium that loses bytes says so to one fsync; that the next one succeeds proves nothing.</summary>
    [Fact]
    public async Task FailedFlush_IsNotTriedAgainOnTheSameFile()
    {
        var content = Fixture.Content(new Random(2), 1 << 20);
        var files = new ForgetfulFiles();
        await using var store = new FolderStore(_folder, files);
        using var repository = await Fixture.InitAsync(Layers.Retrying(store));
        var first = await Fixture.BackUpAsync(repository, content);
        content[5] ^= 1;
        files.FailAt = files.Flushes + 2; // after the run object
        var failure = await Assert.ThrowsAsync<StoreException>(() => Fixture.BackUpAsync(repository, content, first, [0]));
        Assert.False(failure.IsTransient);
        Assert.Contains("packs/", failure.Message, StringComparison.Ordinal);
        Assert.Equal(first.Id, Assert.Single((await repository.ListPointsAsync(null, Fixture.Token)).Points).Id);
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder, "tmp")));
        await Fixture.AssertHoldsAsync(repository, (await Fixture.BackUpAsync(repository, content, first, [0])).Disk("vda"), content);

        await using var upload = await store.StartUploadAsync(Fixture.Token);
        await upload.WriteAsync(content, Fixture.Token);
        files.FailAt = files.Flushes + 1;
        for (var attempt = 0; attempt < 2; attempt++)
        {
            var refusal = await Assert.ThrowsAsync<StoreException>(() => upload.CommitAsync("packs/a/b/d-00", Fixture.Token).AsTask());
            Assert.False(refusal.IsTransient);
        }

        Assert.Null(await store.HeadAsync("packs/a/b/d-00", Fixture.Token));

        // What is given as a whole is written anew.
        files.FailAt = files.Flushes + 1;
        Assert.True(await Layers.Retrying(store).PutIfAbsentAsync("labels/m/1", new byte[] { 1 }, Fixture.Token));
    }

    protected override IObjectStore Open() => new FolderStore(_folder);

    // The N-th flush reports, as a network file system does, what it lost.
    private sealed class ForgetfulFiles : FolderFiles
    {
        private const int TimedOut = 110;
        private int _flushes;

        public int Flushes => Volatile.Read(ref _flushes);

        public int FailAt { get; set; }

        public override void Flush(SafeFileHandle file, string path)
        {
            if (Interlocked.Increment(ref _flushes) == FailAt)
                throw new IOException("Connection timed out", TimedOut);
            base.Flush(file, path);
        }
    }
}
