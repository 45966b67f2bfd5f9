// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage.Tests;

/// <summary>The few steps every test takes: a repository, a backup of bytes, the bytes back.</summary>
internal static class Fixture
{
    public static readonly MachineId Machine = new("0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11");
    public static readonly Credentials Key = Credentials.FromKeyFile(KeyFile.Generate());

    public static CancellationToken Token => TestContext.Current.CancellationToken;

    public static Task<Repository> InitAsync(IObjectStore store, bool encrypted = true, ulong writer = 1) =>
        Repository.InitAsync(store, new InitOptions { Credentials = encrypted ? Key : Credentials.None }, OptionsOf(writer), Token);

    public static Task<Repository> OpenAsync(IObjectStore store, bool encrypted = true, ulong writer = 1) =>
        Repository.OpenAsync(store, encrypted ? Key : Credentials.None, OptionsOf(writer), Token);

    public static OpenOptions OptionsOf(ulong writer) => new() { Writer = new WriterId(writer) };

    /// <summary>Backs up one disk "vda", every chunk of it or those of <paramref name="changed"/>; the rest comes from the base.</summary>
    public static async Task<RestorePoint> BackUpAsync(
        Repository repository, byte[] content, RestorePoint? origin = null, IEnumerable<long>? changed = null, int chunkLog2 = 16,
        BackupRunOptions? options = null)
    {
        var bases = origin is null ? Array.Empty<RestorePoint>() : [origin];
        await using var run = await repository.BeginRunAsync(Machine, (options ?? new BackupRunOptions()) with { Bases = bases }, Token);
        var result = await WriteAsync(run, "vda", content, origin?.Disk("vda").Tree, changed, chunkLog2);
        return await run.CommitAsync(DraftOf(result), Token);
    }

    public static async Task<DiskResult> WriteAsync(
        BackupRun run, string name, byte[] content, TreeRef? origin = null, IEnumerable<long>? changed = null, int chunkLog2 = 16)
    {
        var disk = run.OpenDisk(name, content.Length, chunkLog2, origin);
        for (long chunk = 0; changed is null && chunk < disk.ChunkCount; chunk++)
            await WriteChunkAsync(disk, content, chunk);
        foreach (var chunk in changed ?? [])
            await WriteChunkAsync(disk, content, chunk);
        return await disk.FinishAsync(Token);
    }

    public static RestorePointDraft DraftOf(params DiskResult[] disks) => new()
    {
        Name = "web-1",
        Time = DateTimeOffset.UnixEpoch,
        Disks = [.. disks.Select(disk => new DraftDisk(disk, new PointDisk { Mode = "full" }))],
    };

    public static async Task<byte[]> ReadAsync(Repository repository, PointDisk disk)
    {
        await using var reader = repository.OpenDisk(disk);
        var content = new byte[disk.Size];
        await reader.ReadAsync(0, content, Token);
        return content;
    }

    public static async Task<byte[]> ReadPlannedAsync(Repository repository, PointDisk disk)
    {
        await using var reader = repository.OpenDisk(disk);
        var content = new byte[disk.Size];
        await reader.ReadAllAsync(
            (offset, bytes, _) =>
            {
                bytes.CopyTo(content.AsMemory((int)offset));
                return ValueTask.CompletedTask;
            },
            Token);
        return content;
    }

    public static async Task AssertHoldsAsync(Repository repository, PointDisk disk, byte[] expected)
    {
        var inOrder = await ReadAsync(repository, disk);
        var byPlan = await ReadPlannedAsync(repository, disk);
        Assert.True(expected.AsSpan().SequenceEqual(inOrder), "Read in order, the disk differs.");
        Assert.True(expected.AsSpan().SequenceEqual(byPlan), "Read by plan, the disk differs.");
        await using var source = new TestKit.MemoryDisk(expected);
        Assert.Equal(disk.Root, (await repository.RootOfAsync(source, disk.ChunkLog2, disk.Domain, null, Token)).ToString());
    }

    /// <summary>Bytes of which half compress, with holes.</summary>
    public static byte[] Content(Random random, int length)
    {
        var content = new byte[length];
        for (var at = 0; at < length;)
        {
            var part = content.AsSpan(at, Math.Min(random.Next(1, 200_000), length - at));
            switch (random.Next(3))
            {
                case 0:
                    random.NextBytes(part);
                    break;
                case 1:
                    for (var i = 0; i < part.Length; i++)
                        part[i] = (byte)(i / 7 % 50);
                    break;
            }

            at += part.Length;
        }

        return content;
    }

    public static async Task WriteChunkAsync(DiskWriter disk, byte[] content, long chunk)
    {
        var buffer = MemoryPool<byte>.Shared.Rent(disk.ChunkSize);
        var offset = (int)(chunk * disk.ChunkSize);
        content.AsSpan(offset, Math.Min(disk.ChunkSize, content.Length - offset)).CopyTo(buffer.Memory.Span);
        await disk.WriteAsync(chunk, buffer, Token);
    }
}
