// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// What of a base's tree is hurt (docs/format.md section 9, healing): chunks to be read anew whatever a bitmap says, and nodes that can't
/// be read. Immutable once found.
/// </summary>
internal sealed class HurtTree
{
    private readonly List<(long From, long To)> _chunks = [];
    private readonly List<(long From, long To)> _unreadable = [];
    private readonly HashSet<BlobId> _nodes = [];

    private HurtTree()
    {
    }

    public static HurtTree None { get; } = new();

    public bool IsEmpty => _chunks.Count == 0;

    /// <summary>Hurt chunks in order, touching ranges merged; those below unreadable nodes included. May go beyond the disk.</summary>
    public IReadOnlyList<(long From, long To)> Chunks => _chunks;

    /// <summary>Chunks below nodes that can't be read: all of them must be written (I21).</summary>
    public IReadOnlyList<(long From, long To)> Unreadable => _unreadable;

    /// <summary>Whether a node can't be read.</summary>
    public bool IsLost(in BlobId node) => _nodes.Count > 0 && _nodes.Contains(node);

    public bool IsHurt(long chunk) => Holds(_chunks, chunk);

    public bool IsUnreadable(long chunk) => Holds(_unreadable, chunk);

    /// <summary>Walks a tree. Nodes that are lost but can still be read are stored again at once.</summary>
    /// <exception cref="StoreException">The store failed: what is hurt is not known then.</exception>
    public static async Task<HurtTree> FindAsync(
        TreeRef tree, LostBlobs lost, BlobReader blobs, INodeSink nodes, CancellationToken cancellationToken)
    {
        var hurt = new HurtTree();
        if (!tree.Root.IsZero)
            await WalkAsync(tree.Root, tree.Hint, tree.Depth - 1, 0);
        return hurt;

        async ValueTask WalkAsync(BlobId id, BlobLocation location, int level, long first)
        {
            TreeNode node;
            try
            {
                node = await blobs.ReadNodeAsync(id, location, level, tree.ChunkLog2, cancellationToken);
            }
            catch (RepositoryDamagedException)
            {
                hurt._nodes.Add(id);
                Add(hurt._unreadable, first, first + TreeShape.Span(level + 1));
                Add(hurt._chunks, first, first + TreeShape.Span(level + 1));
                return;
            }

            if (lost.Contains(in id))
                await nodes.AddAsync(node.Copy(), id, new StoredBlob?[TreeShape.FanOut], cancellationToken);
            for (var slot = 0; slot < TreeShape.FanOut; slot++)
            {
                var start = first + slot * TreeShape.Span(level);
                if (!node.Has(slot))
                    continue;
                if (level > 0)
                    await WalkAsync(node.Id(slot), node.Location(slot), level - 1, start);
                else if (lost.Contains(node.Id(slot)))
                    Add(hurt._chunks, start, start + 1);
            }
        }
    }

    private static void Add(List<(long From, long To)> ranges, long from, long to)
    {
        if (ranges.Count > 0 && ranges[^1].To == from)
            ranges[^1] = (ranges[^1].From, to);
        else
            ranges.Add((from, to));
    }

    private static bool Holds(List<(long From, long To)> ranges, long chunk)
    {
        var (low, high) = (0, ranges.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (ranges[middle].To <= chunk)
                low = middle + 1;
            else
                high = middle;
        }

        return low < ranges.Count && ranges[low].From <= chunk;
    }
}
