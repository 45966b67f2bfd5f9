// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Tidemark.Storage;

/// <summary>What differs between two trees: one chunk with data, or a range of chunks that are zero.</summary>
/// <param name="From">First chunk.</param>
/// <param name="To">The chunk after the last.</param>
/// <param name="Id">The chunk's id; zero for a range of zero bytes.</param>
/// <param name="Location">Where the chunk may lie.</param>
internal readonly record struct TreeChange(long From, long To, BlobId Id, BlobLocation Location)
{
    public bool IsZero => Id.IsZero;
}

/// <summary>
/// Walks a tree beside an earlier one of the same chunk size and skips what they share; what of the earlier one can't be read counts as
/// different. In increasing order. Memory: a node of each tree per level.
/// </summary>
internal sealed class TreeDiff(BlobReader blobs, TreeRef tree, TreeRef? before)
{
    private readonly int _chunkLog2 = tree.ChunkLog2;
    private readonly long _count = tree.Shape.ChunkCount;

    /// <exception cref="RepositoryDamagedException">A node of the tree can't be read.</exception>
    public async IAsyncEnumerable<TreeChange> FindAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var level = tree.Depth - 1;
        var beforeLevel = before is null ? -1 : before.Depth - 1;
        var earlier = before is null ? default : new Side(before.Root, before.Hint, false);
        for (; beforeLevel > level; beforeLevel--)
            earlier = await ChildAsync(earlier, beforeLevel, 0, cancellationToken); // a shrunk disk: what is left of it
        await foreach (var change in WalkAsync(new Side(tree.Root, tree.Hint, false), earlier, level, beforeLevel, 0, cancellationToken))
            yield return change;
    }

    private async IAsyncEnumerable<TreeChange> WalkAsync(
        Side now, Side earlier, int level, int earlierLevel, long first, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (first >= _count || (level == earlierLevel && now.Id == earlier.Id && !earlier.IsUnknown))
            yield break;
        if (now.Id.IsZero)
        {
            yield return new TreeChange(first, Math.Min(_count, first + TreeShape.Span(level + 1)), default, default);
            yield break;
        }

        var node = await blobs.ReadNodeAsync(now.Id, now.Location, level, _chunkLog2, cancellationToken);
        var old = level == earlierLevel ? await ReadAsync(earlier, level, cancellationToken) : (null, false);
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            var start = first + slot * TreeShape.Span(level);
            var child = node.Has(slot) ? new Side(node.Id(slot), node.Location(slot), false) : default;
            var oldChild = level == earlierLevel ? ChildOf(old, slot) : slot == 0 ? earlier : default;
            if (level == 0)
            {
                if (start < _count && (child.Id != oldChild.Id || oldChild.IsUnknown))
                    yield return new TreeChange(start, start + 1, child.Id, child.Location);
                continue;
            }

            // Only the first child of a grown disk's upper nodes has an earlier tree beside it.
            var oldLevel = level == earlierLevel || slot > 0 ? level - 1 : earlierLevel;
            if (child.Id.IsZero && oldLevel < level - 1)
                oldLevel = level - 1; // zero now: whatever it was
            await foreach (var change in WalkAsync(child, oldChild, level - 1, oldLevel, start, cancellationToken))
                yield return change;
        }
    }

    private async ValueTask<Side> ChildAsync(Side parent, int level, int slot, CancellationToken cancellationToken) =>
        ChildOf(await ReadAsync(parent, level, cancellationToken), slot);

    private static Side ChildOf((TreeNode? Node, bool IsUnknown) parent, int slot) =>
        parent.IsUnknown ? new Side(default, default, true)
        : parent.Node is { } node && node.Has(slot) ? new Side(node.Id(slot), node.Location(slot), false)
        : default;

    private async ValueTask<(TreeNode? Node, bool IsUnknown)> ReadAsync(Side side, int level, CancellationToken cancellationToken)
    {
        if (side.IsUnknown || side.Id.IsZero)
            return (null, side.IsUnknown);
        try
        {
            return (await blobs.ReadNodeAsync(side.Id, side.Location, level, _chunkLog2, cancellationToken), false);
        }
        catch (RepositoryDamagedException)
        {
            return (null, true);
        }
    }

    // A subtree: its id (zero for zero bytes), or that it can't be known.
    private readonly record struct Side(BlobId Id, BlobLocation Location, bool IsUnknown);
}
