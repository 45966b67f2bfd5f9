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

    public ValueTask<TreeNode> NodeAsync(BlobId id, BlobLocation hint, int level, int chunkLog2, CancellationToken cancellationToken) =>
        blobs.ReadNodeAsync(id, hint, level, chunkLog2, cancellationToken);
}
