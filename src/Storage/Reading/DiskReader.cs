// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>
/// A disk of a restore point as a block source: exact, every byte proven (I7), holes reported as zero. Calls may overlap. Memory: the
/// node cache and 16 MiB of chunks. <see cref="ReadAllAsync"/> is the way to read much of it.
/// </summary>
public sealed partial class DiskReader : IBlockSource
{
    private readonly TreeRef _tree;
    private readonly BlobReader _blobs;
    private readonly TreeReader _trees;
    private readonly ChunkCache _chunks = new();
    private readonly RepositoryContext _context;

    internal DiskReader(RepositoryContext context, TreeRef tree)
    {
        context.Keys.RequireData();
        (_context, _tree) = (context, tree);
        _blobs = new BlobReader(context);
        _trees = new TreeReader(_blobs);
    }

    public long Size => _tree.Size;

    public int ChunkSize => _tree.Shape.ChunkSize;

    /// <exception cref="RepositoryDamagedException">A chunk or node of the range is damaged.</exception>
    public async ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (offset < 0 || buffer.Length > Size - offset)
            throw new ArgumentOutOfRangeException(
                nameof(offset), $"{buffer.Length} bytes at {offset} are not within a disk of {Size} bytes.");
        LeafSpan leaf = default;
        while (!buffer.IsEmpty)
        {
            var chunk = offset >> _tree.ChunkLog2;
            var within = (int)(offset & (ChunkSize - 1));
            if (chunk >= leaf.End)
                leaf = await _trees.LeafAsync(_tree, chunk, cancellationToken);
            var part = buffer[..Math.Min(buffer.Length, ChunkSize - within)];
            var slot = (int)(chunk % TreeShape.FanOut);
            if (leaf.Leaf is { } node && node.Has(slot))
                await ReadPartAsync(node, slot, within, part, cancellationToken);
            else
                part.Span.Clear();
            offset += part.Length;
            buffer = buffer[part.Length..];
        }
    }

    /// <exception cref="RepositoryDamagedException">A node of the range is damaged.</exception>
    public async IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Extent? last = null;
        await foreach (var extent in RawExtentsAsync(range, cancellationToken))
        {
            if (last is { } before && before.Kind == extent.Kind)
            {
                last = new Extent(ByteRange.FromBounds(before.Range.Offset, extent.Range.End), extent.Kind);
                continue;
            }

            if (last is not null)
                yield return last.Value;
            last = extent;
        }

        if (last is not null)
            yield return last.Value;
    }

    public ValueTask DisposeAsync()
    {
        _blobs.Dispose();
        return ValueTask.CompletedTask;
    }

    private async IAsyncEnumerable<Extent> RawExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var end = Math.Min(range.End, Size);
        for (var offset = range.Offset; offset < end;)
        {
            var chunk = offset >> _tree.ChunkLog2;
            var leaf = await _trees.LeafAsync(_tree, chunk, cancellationToken);
            for (; chunk < leaf.End && offset < end; chunk++)
            {
                var isData = leaf.Leaf is { } node && node.Has((int)(chunk % TreeShape.FanOut));
                var next = leaf.Leaf is null ? leaf.End : chunk + 1;
                var until = Math.Min(end, next << _tree.ChunkLog2);
                yield return new Extent(ByteRange.FromBounds(offset, until), isData ? ExtentKind.Data : ExtentKind.Zero);
                offset = until;
                if (leaf.Leaf is null)
                    break;
            }
        }
    }

    private async ValueTask ReadPartAsync(TreeNode leaf, int slot, int within, Memory<byte> target, CancellationToken cancellationToken)
    {
        var id = leaf.Id(slot);
        if (_chunks.TryCopy(in id, within, target.Span))
            return;
        if (target.Length == ChunkSize)
        {
            await _blobs.ReadChunkAsync(id, leaf.Location(slot), target, cancellationToken);
            return;
        }

        var chunk = new byte[ChunkSize];
        await _blobs.ReadChunkAsync(id, leaf.Location(slot), chunk, cancellationToken);
        chunk.AsSpan(within, target.Length).CopyTo(target.Span);
        _chunks.Add(in id, chunk);
    }
}
