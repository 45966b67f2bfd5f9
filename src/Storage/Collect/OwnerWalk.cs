// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Finds which blobs only one group of points needs. A blob belongs to the first group that reaches it, and to all once another does;
/// so a node is read at most twice. Memory: four bytes for each slot of the index's table. One caller.
/// </summary>
internal sealed class OwnerWalk(RepositoryContext context, CollectorIndex index) : TreeWalk(context, index)
{
    private const uint Shared = uint.MaxValue;
    private readonly uint[] _owners = new uint[index.Table.Capacity];
    private readonly Dictionary<BlobId, uint> _unindexed = [];
    private uint _group;

    /// <summary>Gives a tree to a group, counted from 0.</summary>
    /// <exception cref="RepositoryDamagedException">A node can't be read anywhere.</exception>
    public Task AddAsync(TreeRef tree, int group, CancellationToken cancellationToken)
    {
        _group = (uint)group + 1;
        return WalkAsync(tree.Root, tree.Hint, tree.Depth, tree.ChunkLog2, cancellationToken);
    }

    /// <summary>Stored bytes of blobs that one group alone needs, by group; and of all that any needs, with the plain bytes of their
    /// chunks.</summary>
    public (long[] Unique, long Stored, long Plain) Sum(int groups)
    {
        var unique = new long[groups];
        long stored = 0, plain = 0;
        for (long slot = 0; slot < _owners.LongLength; slot++)
        {
            if (_owners[slot] == 0)
                continue;
            var entry = Index.Table.Get(slot);
            stored += entry.Length;
            plain += entry.Kind == BlobKind.Chunk ? entry.PlainLength : 0;
            if (_owners[slot] != Shared)
                unique[_owners[slot] - 1] += entry.Length;
        }

        return (unique, stored, plain);
    }

    protected override bool Enter(in BlobId id, BlobLocation hint)
    {
        var slot = Index.Table.Find(in id, 0);
        if (slot >= 0)
            return Take(ref _owners[slot]);
        var owner = _unindexed.GetValueOrDefault(id);
        var isNew = Take(ref owner);
        _unindexed[id] = owner;
        return isNew;
    }

    private bool Take(ref uint owner)
    {
        if (owner == _group || owner == Shared)
            return false;
        owner = owner == 0 ? _group : Shared;
        return true;
    }
}
