// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A leaf of a tree, or a hole: chunks from the one asked for up to <paramref name="End"/> are in it.</summary>
internal readonly record struct LeafSpan(TreeNode? Leaf, long End);

/// <summary>Finds leaves in stored trees. Safe from any thread.</summary>
internal sealed class TreeReader(BlobReader blobs)
{
    /// <summary>The leaf that holds <paramref name="chunk"/>, or the hole around it up to where it may end.</summary>
    /// <exception cref="RepositoryDamagedException">A node on the way is damaged.</exception>
    public async ValueTask<LeafSpan> LeafAsync(TreeRef tree, long chunk, CancellationToken cancellationToken)
    {
        if (tree.Root.IsZero)
            return new LeafSpan(null, tree.Shape.ChunkCount);
        var level = tree.Depth - 1;
        var node = await blobs.ReadNodeAsync(tree.Root, tree.Hint, level, tree.ChunkLog2, cancellationToken);
        while (level > 0)
        {
            var span = TreeShape.Span(level);
            var slot = (int)(chunk / span % TreeShape.FanOut);
            if (!node.Has(slot))
                return new LeafSpan(null, Math.Min(tree.Shape.ChunkCount, (chunk / span + 1) * span));
            level--;
            node = await blobs.ReadNodeAsync(node.Id(slot), node.Location(slot), level, tree.ChunkLog2, cancellationToken);
        }

        return new LeafSpan(node, Math.Min(tree.Shape.ChunkCount, (chunk / TreeShape.FanOut + 1) * TreeShape.FanOut));
    }

    /// <summary>The last chunk of [from, to) that holds data, and its id; -1 when all of them are zero.</summary>
    /// <exception cref="RepositoryDamagedException">A node on the way is damaged.</exception>
    public async ValueTask<(long Chunk, BlobId Id)> LastDataAsync(TreeRef tree, long from, long to, CancellationToken cancellationToken)
    {
        if (tree.Root.IsZero || from >= to)
            return (-1, default);
        var root = await blobs.ReadNodeAsync(tree.Root, tree.Hint, tree.Depth - 1, tree.ChunkLog2, cancellationToken);
        return await LastDataAsync(root, 0, tree.Depth - 1);

        async ValueTask<(long Chunk, BlobId Id)> LastDataAsync(TreeNode node, long first, int level)
        {
            var span = TreeShape.Span(level);
            for (var slot = Math.Min(TreeShape.FanOut - 1, (to - 1 - first) / span); slot >= 0; slot--)
            {
                var start = first + slot * span;
                if (start + span <= from)
                    break;
                if (!node.Has((int)slot))
                    continue;
                if (level == 0)
                    return (start, node.Id((int)slot));
                var child = await NodeAsync(
                    node.Id((int)slot), node.Location((int)slot), level - 1, tree.ChunkLog2, cancellationToken);
                if (await LastDataAsync(child, start, level - 1) is { Chunk: >= 0 } found)
                    return found;
            }

            return (-1, default);
        }
    }

    public ValueTask<TreeNode> NodeAsync(BlobId id, BlobLocation hint, int level, int chunkLog2, CancellationToken cancellationToken) =>
        blobs.ReadNodeAsync(id, hint, level, chunkLog2, cancellationToken);
}
