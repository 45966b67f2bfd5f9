// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>Takes a part of a disk; called for several parts at once, in no order, each part once. The bytes are borrowed.</summary>
public delegate ValueTask DiskPartSink(long offset, ReadOnlyMemory<byte> content, CancellationToken cancellationToken);

public sealed partial class DiskReader
{
    private const int ChunksPerPlan = 4096; // 1 GiB at 256 KiB; 64 leaves in memory
    private const int RangeTarget = 4 << 20; // one read
    private const int RangeGap = 64 << 10; // read over rather than seek
    private const int RangesInFlight = 8;

    /// <summary>
    /// Reads every chunk that is not a hole, planned by pack with neighbouring blobs read together, several reads in flight, opened in
    /// parallel. Memory: eight ranges of 4 MiB (or one blob) and a chunk for each.
    /// </summary>
    /// <exception cref="RepositoryDamagedException">A chunk or node is damaged; parts already given are right.</exception>
    public async Task ReadAllAsync(DiskPartSink sink, CancellationToken cancellationToken)
    {
        for (long start = 0; start < _tree.Shape.ChunkCount;)
        {
            var wanted = new List<WantedChunk>(ChunksPerPlan);
            start = await CollectAsync(start, wanted, cancellationToken);
            var options = new ParallelOptions { MaxDegreeOfParallelism = RangesInFlight, CancellationToken = cancellationToken };
            await Parallel.ForEachAsync(Plan(wanted), options, (range, token) => ReadRangeAsync(range, sink, token));
        }
    }

    private async ValueTask<long> CollectAsync(long chunk, List<WantedChunk> wanted, CancellationToken cancellationToken)
    {
        while (chunk < _tree.Shape.ChunkCount && wanted.Count < ChunksPerPlan)
        {
            var (leaf, end) = await _trees.LeafAsync(_tree, chunk, cancellationToken);
            for (; leaf is not null && chunk < end; chunk++)
            {
                var slot = (int)(chunk % TreeShape.FanOut);
                if (leaf.Has(slot))
                    wanted.Add(new WantedChunk(chunk, leaf.Id(slot), leaf.Location(slot)));
            }

            chunk = end;
        }

        return chunk;
    }

    /// <summary>Groups chunks into ranges of packs; a chunk without a hint, or the same blob again at the same place, joins its like.</summary>
    private static List<List<WantedChunk>> Plan(List<WantedChunk> wanted)
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

    private async ValueTask ReadRangeAsync(List<WantedChunk> range, DiskPartSink sink, CancellationToken cancellationToken)
    {
        var (first, last) = (range[0].Location, range[^1].Location);
        var length = first.IsKnown ? (int)Math.Min(last.Offset + (long)last.Length - first.Offset, StorageLimits.MaxBlob) : 0;
        var bytes = ArrayPool<byte>.Shared.Rent(Math.Max(length, 1));
        var chunk = ArrayPool<byte>.Shared.Rent(ChunkSize);
        try
        {
            var read = await TryReadAsync(first, bytes.AsMemory(0, length), cancellationToken);
            var content = chunk.AsMemory(0, ChunkSize);
            BlobId opened = default;
            foreach (var wanted in range)
            {
                if (wanted.Id != opened)
                {
                    opened = default;
                    await OpenAsync(wanted, first, bytes.AsMemory(0, read), content, cancellationToken);
                    opened = wanted.Id;
                }

                await sink(wanted.Chunk << _tree.ChunkLog2, content[.._tree.Shape.LengthOf(wanted.Chunk)], cancellationToken);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    private async ValueTask OpenAsync(WantedChunk wanted, BlobLocation first, ReadOnlyMemory<byte> bytes, Memory<byte> chunk, CancellationToken cancellationToken)
    {
        var at = wanted.Location.IsKnown ? (long)wanted.Location.Offset - first.Offset : long.MaxValue;
        var isRead = at <= bytes.Length && wanted.Location.Length <= bytes.Length - at;
        if (isRead && _blobs.TryOpenChunk(wanted.Id, bytes.Span.Slice((int)at, (int)wanted.Location.Length), chunk.Span))
            return;
        await _blobs.ReadChunkAsync(wanted.Id, wanted.Location, chunk, cancellationToken);
    }

    private async ValueTask<int> TryReadAsync(BlobLocation first, Memory<byte> target, CancellationToken cancellationToken)
    {
        try
        {
            return target.IsEmpty ? 0 : await _context.Store.ReadAsync(first.Pack!.Key, first.Offset, target, cancellationToken);
        }
        catch (ObjectMissingException)
        {
            return 0; // each chunk then looks for another place
        }
    }

    private readonly record struct WantedChunk(long Chunk, BlobId Id, BlobLocation Location);
}
