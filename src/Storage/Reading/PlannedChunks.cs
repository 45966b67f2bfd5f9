// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>A chunk to read: its place in its disk, its id, and where it may lie.</summary>
internal readonly record struct WantedChunk(long Chunk, BlobId Id, BlobLocation Location);

/// <summary>Takes a chunk that was read and proven; the bytes are borrowed. Called for several chunks at once, in no order.</summary>
internal delegate ValueTask ChunkSink(WantedChunk chunk, ReadOnlyMemory<byte> content, CancellationToken cancellationToken);

/// <summary>
/// Reads many chunks, planned by pack with neighbouring blobs read together, several reads in flight, opened in parallel.
/// Memory: <see cref="IObjectStore.ReadsAtOnce"/> ranges of <see cref="RangeTarget"/> (or one blob) and a chunk for each.
/// </summary>
internal sealed class PlannedChunks(RepositoryContext context, BlobReader blobs, int chunkSize)
{
    /// <summary>Chunks planned at once: 1 GiB at 256 KiB.</summary>
    public const int PlanSize = 4096;

    private const int RangeTarget = 4 << 20;
    private const int RangeGap = 64 << 10; // read over rather than seek

    /// <summary>Reads all; a chunk that is damaged, or that the store fails for good to read, goes to <paramref name="failed"/>; without
    /// one it is thrown.</summary>
    public Task ReadAsync(
        IEnumerable<WantedChunk> wanted, ChunkSink sink, Action<WantedChunk, Exception>? failed, CancellationToken cancellationToken)
    {
        var options = context.Scheduler.AtOnce(context.Store.ReadsAtOnce, cancellationToken);
        return Parallel.ForEachAsync(Plan(wanted), options, (range, token) => ReadRangeAsync(range, sink, failed, token));
    }

    private static List<List<WantedChunk>> Plan(IEnumerable<WantedChunk> wanted)
    {
        var ordered = wanted.OrderBy(chunk => chunk.Location.Pack?.Key, StringComparer.Ordinal).ThenBy(chunk => chunk.Location.Offset);
        var ranges = new List<List<WantedChunk>>();
        List<WantedChunk>? current = null;
        foreach (var chunk in ordered)
        {
            if (current is null || !Continues(current, chunk.Location))
                ranges.Add(current = []);
            current.Add(chunk);
        }

        return ranges;
    }

    private static bool Continues(List<WantedChunk> range, BlobLocation next)
    {
        var (first, last) = (range[0].Location, range[^1].Location);
        return next.IsKnown && first.Pack == next.Pack
            && next.Offset <= last.Offset + (long)last.Length + RangeGap
            && next.Offset + (long)next.Length - first.Offset <= RangeTarget;
    }

    private async ValueTask ReadRangeAsync(
        List<WantedChunk> range, ChunkSink sink, Action<WantedChunk, Exception>? failed, CancellationToken cancellationToken)
    {
        var (first, last) = (range[0].Location, range[^1].Location);
        var length = first.IsKnown ? (int)Math.Min(last.Offset + (long)last.Length - first.Offset, StorageLimits.MaxBlob) : 0;
        var bytes = ArrayPool<byte>.Shared.Rent(Math.Max(length, 1));
        using var chunk = AlignedPool.Rent(chunkSize); // a target may write it past the page cache
        try
        {
            var read = await TryReadAsync(first, bytes.AsMemory(0, length), cancellationToken);
            var content = chunk.Memory;
            BlobId? opened = null;
            foreach (var wanted in range)
            {
                if (wanted.Id != opened)
                {
                    opened = null;
                    if (!await OpenAsync(wanted, first, bytes.AsMemory(0, read), content, failed, cancellationToken))
                        continue;
                    opened = wanted.Id;
                }

                await sink(wanted, content, cancellationToken);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    private async ValueTask<bool> OpenAsync(
        WantedChunk wanted, BlobLocation first, ReadOnlyMemory<byte> bytes, Memory<byte> chunk,
        Action<WantedChunk, Exception>? failed, CancellationToken cancellationToken)
    {
        var at = wanted.Location.IsKnown ? (long)wanted.Location.Offset - first.Offset : long.MaxValue;
        var isRead = at <= bytes.Length && wanted.Location.Length <= bytes.Length - at;
        if (isRead && blobs.TryOpenChunk(wanted.Id, bytes.Span.Slice((int)at, (int)wanted.Location.Length), chunk.Span))
            return true;
        try
        {
            await blobs.ReadChunkAsync(wanted.Id, wanted.Location, chunk, cancellationToken);
            return true;
        }
        catch (Exception failure) when (
            failed is not null && failure is RepositoryDamagedException or StoreException { IsTransient: false })
        {
            failed!(wanted, failure);
            return false;
        }
    }

    private async ValueTask<int> TryReadAsync(BlobLocation first, Memory<byte> target, CancellationToken cancellationToken)
    {
        try
        {
            return target.IsEmpty ? 0 : await context.Store.ReadAsync(first.Pack!.Key, first.Offset, target, cancellationToken);
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            return 0; // each chunk is then read by itself, elsewhere where that is possible
        }
    }
}
