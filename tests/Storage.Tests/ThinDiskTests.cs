// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Diagnostics;
using Tidemark.Blocks;

namespace Tidemark.Storage.Tests;

/// <summary>Measures memory, hence runs alone.</summary>
[CollectionDefinition(nameof(ThinDiskTests), DisableParallelization = true)]
[Collection(nameof(ThinDiskTests))]
public sealed class ThinDiskTests
{
    private const long Size = (8L << 40) + 512;
    private const int ChunkLog2 = 18;

    [Fact]
    public async Task ThinDiskOfEightTebibytes_CostsOnlyWhatItHolds()
    {
        var watch = Stopwatch.StartNew();
        using var repository = await Fixture.InitAsync(new MemoryStore());
        var chunks = (Size >> ChunkLog2) + 1;
        long[] written = [0, 1, 4095, 262_144, chunks - 2, chunks - 1];
        var first = await BackUpAsync(repository, written, null);
        var second = await BackUpAsync(repository, [1], first);
        var cleared = await ClearAsync(repository, second);
        await using var reader = repository.OpenDisk(second.Disk("vda"));
        var data = new List<ByteRange>();
        await foreach (var extent in reader.ExtentsAsync(new ByteRange(0, Size), Fixture.Token))
        {
            if (extent.Kind == ExtentKind.Data)
                data.Add(extent.Range);
        }

        Assert.Equal(4, data.Count);
        Assert.Equal(new ByteRange(0, 2 << ChunkLog2), data[0]);
        Assert.Equal(new ByteRange((chunks - 2) << ChunkLog2, (1 << ChunkLog2) + 512), data[^1]);
        var tail = new byte[512];
        await reader.ReadAsync(Size - 512, tail, Fixture.Token);
        Assert.All(tail, value => Assert.Equal(7, value));
        Assert.Equal(second.Disk("vda").Root, (await repository.RootOfAsync(reader, ChunkLog2, "", null, Fixture.Token)).ToString());
        Assert.Equal(new string('0', 64), cleared.Disk("vda").Root);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), $"It took {watch.Elapsed}.");
    }

    [Fact]
    public async Task ManyChunks_StayWithinAFixedMemory()
    {
        // What the tests before have left in the runtime's pools is not this one's.
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var store = new DiscardingStore();
        using var repository = await Repository.InitAsync(
            store, new InitOptions { Credentials = Credentials.None }, Fixture.OptionsOf(1), Fixture.Token);
        await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions(), Fixture.Token);
        var disk = run.OpenDisk("vda", 3000L << 16, 16, null);
        var random = new Random(1);
        long peak = 0;
        for (long chunk = 0; chunk < disk.ChunkCount; chunk++)
        {
            var buffer = MemoryPool<byte>.Shared.Rent(disk.ChunkSize);
            random.NextBytes(buffer.Memory.Span[..disk.ChunkSize]);
            await disk.WriteAsync(chunk, buffer, Fixture.Token);
            if (chunk % 250 == 0)
                peak = Math.Max(peak, GC.GetTotalMemory(forceFullCollection: true) - before);
        }

        await disk.FinishAsync(Fixture.Token);
        Assert.True(store.Discarded > 128 << 20, $"Only {store.Discarded} bytes were written.");
        Assert.True(peak < 50 << 20, $"{peak} bytes more than before were in use at once.");
    }

    [Fact]
    public async Task AllZeroDisk_HasTheZeroRootAndNoPack()
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var point = await Fixture.BackUpAsync(repository, new byte[1 << 20]);
        Assert.Equal(new string('0', 64), point.Disk("vda").Root);
        Assert.DoesNotContain(store.Objects.Keys, key => key.StartsWith("packs/", StringComparison.Ordinal));
        await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), new byte[1 << 20]);
    }

    private static async Task<RestorePoint> BackUpAsync(Repository repository, long[] chunks, RestorePoint? origin)
    {
        await using var run = await repository.BeginRunAsync(
            Fixture.Machine, new BackupRunOptions { Bases = origin is null ? [] : [origin] }, Fixture.Token);
        var disk = run.OpenDisk("vda", Size, ChunkLog2, origin?.Disk("vda").Tree);
        long position = 0;
        foreach (var chunk in chunks)
        {
            if (origin is null)
                await disk.ZeroAsync(position, chunk, Fixture.Token);
            var buffer = MemoryPool<byte>.Shared.Rent(disk.ChunkSize);
            buffer.Memory.Span.Fill((byte)(origin is null ? 7 : 9));
            await disk.WriteAsync(chunk, buffer, Fixture.Token);
            position = chunk + 1;
        }

        return await run.CommitAsync(Fixture.DraftOf(await disk.FinishAsync(Fixture.Token)), Fixture.Token);
    }

    private static async Task<RestorePoint> ClearAsync(Repository repository, RestorePoint origin)
    {
        await using var run = await repository.BeginRunAsync(Fixture.Machine, new BackupRunOptions { Bases = [origin] }, Fixture.Token);
        var disk = run.OpenDisk("vda", Size, ChunkLog2, origin.Disk("vda").Tree);
        await disk.ZeroAsync(0, disk.ChunkCount, Fixture.Token);
        return await run.CommitAsync(Fixture.DraftOf(await disk.FinishAsync(Fixture.Token)), Fixture.Token);
    }
}
