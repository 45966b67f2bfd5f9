// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Marks what trees reach, each node read once whatever number of trees share it: a node is marked only together with everything below
/// it. Marks live in the index's table; only blobs that no segment names cost memory of their own. One caller.
/// </summary>
internal sealed class LiveMark(RepositoryContext context, CollectorIndex index) : TreeWalk(context, index)
{
    /// <summary>Reachable.</summary>
    public const byte Live = 1;

    private readonly HashSet<BlobId> _unindexed = [];

    /// <exception cref="RepositoryDamagedException">A node can't be read anywhere (I18).</exception>
    public Task AddAsync(TreeRef tree, CancellationToken cancellationToken) =>
        WalkAsync(tree.Root, tree.Hint, tree.Depth, tree.ChunkLog2, cancellationToken);

    /// <summary>
    /// A root no segment names belongs to a point made after the segments were read, or to none any more: its run came after the packs
    /// were condemned, and uses nothing of them but what it inherits from a point seen or pinned by itself. Nodes that an earlier
    /// collection has deleted are passed over: a pin protects from when it is there, so this one came later, and its run will find
    /// its base gone.
    /// </summary>
    /// <exception cref="RepositoryDamagedException">A node can't be read anywhere (I18).</exception>
    public async Task AddAsync(Pin pin, CancellationToken cancellationToken)
    {
        if (pin.Root.Length != 2 * BlobId.Size || !pin.Root.All(char.IsAsciiHexDigit))
            return;
        var root = BlobId.Parse(pin.Root);
        if (pin.Depth is > 0 and <= StorageLimits.MaxDepth && Index.Table.Find(in root, 0) >= 0)
            await WalkAsync(root, default, pin.Depth, 0, cancellationToken, mayBeGivenUp: true);
    }

    // Every copy is marked, so that a look at a slot tells whether it holds something live.
    protected override bool Enter(in BlobId id, BlobLocation hint)
    {
        var slot = Index.Table.Find(in id, 0);
        if (slot < 0)
        {
            if (hint.Pack is { } pack)
                Index.HintAt(pack);
            return _unindexed.Add(id);
        }

        if ((Index.Table.Marks(slot) & Live) != 0)
            return false;
        for (var copy = 1; slot >= 0; copy++)
        {
            Index.Table.Marks(slot) |= Live;
            slot = Index.Table.Find(in id, copy);
        }

        return true;
    }
}
