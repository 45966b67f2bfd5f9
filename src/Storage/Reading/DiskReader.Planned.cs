// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Takes a part of a disk; called for several parts at once, in no order, each part once. The bytes are borrowed.</summary>
public delegate ValueTask DiskPartSink(long offset, ReadOnlyMemory<byte> content, CancellationToken cancellationToken);

public sealed partial class DiskReader
{
    /// <summary>
    /// Reads every chunk that is not a hole, in the order of the packs: the fast way to read a whole disk. Memory: about 40 MiB.
    /// </summary>
    /// <exception cref="RepositoryDamagedException">A chunk or node is damaged; parts already given are right.</exception>
    public async Task ReadAllAsync(DiskPartSink sink, CancellationToken cancellationToken)
    {
        var planned = new PlannedChunks(_context, _blobs, ChunkSize);
        var wanted = new List<WantedChunk>(PlannedChunks.PlanSize + TreeShape.FanOut);
        for (long start = 0; start < _tree.Shape.ChunkCount;)
        {
            wanted.Clear();
            start = await CollectAsync(start, wanted, cancellationToken);
            await planned.ReadAsync(
                wanted,
                (chunk, content, token) => sink(chunk.Chunk << _tree.ChunkLog2, content[.._tree.Shape.LengthOf(chunk.Chunk)], token),
                failed: null,
                cancellationToken);
        }
    }

    private async ValueTask<long> CollectAsync(long chunk, List<WantedChunk> wanted, CancellationToken cancellationToken)
    {
        while (chunk < _tree.Shape.ChunkCount && wanted.Count < PlannedChunks.PlanSize)
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
}
