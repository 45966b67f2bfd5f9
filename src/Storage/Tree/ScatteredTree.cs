// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Builds a tree of a whole disk whose leaves come in any order, each at one go. Holds the ids of all leaves, hence not for every disk
/// (<see cref="ScatteredOrder.Suits"/>). One caller at a time.
/// </summary>
internal sealed class ScatteredTree(TreeShape shape, INodeSink sink, RepositoryKeys keys) : IDiskTree
{
    private readonly List<(long Leaf, BlobId Id, StoredBlob? Blob)> _leaves = [];
    private readonly StoredBlob?[] _children = new StoredBlob?[TreeShape.FanOut];
    private TreeNode? _node;
    private long _leaf = -1;
    private int _nextSlot;

    public async ValueTask SetAsync(long chunk, BlobId id, BlobLocation location, StoredBlob? blob, CancellationToken cancellationToken)
    {
        if (chunk / TreeShape.FanOut != _leaf)
        {
            await CloseAsync(cancellationToken);
            (_leaf, _nextSlot, _node) = (chunk / TreeShape.FanOut, 0, new TreeNode(0, shape.ChunkLog2));
        }

        var slot = (int)(chunk % TreeShape.FanOut);
        if (slot < _nextSlot)
            throw new ArgumentOutOfRangeException(nameof(chunk), $"Chunk {chunk} comes after a later one of its leaf.");
        _node!.Set(slot, in id, location);
        _children[slot] = blob;
        _nextSlot = slot + 1;
    }

    /// <summary>What is not set is zero.</summary>
    public ValueTask ClearAsync(long from, long to, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public async ValueTask<BuiltTree> FinishAsync(CancellationToken cancellationToken)
    {
        await CloseAsync(cancellationToken);
        _leaves.Sort((left, right) => left.Leaf.CompareTo(right.Leaf));
        var whole = new TreeBuilder(shape, null, null, sink, keys);
        foreach (var (leaf, id, blob) in _leaves)
            await whole.SetLeafAsync(leaf, id, blob, cancellationToken); // refuses one that came twice
        return await whole.FinishAsync(cancellationToken);
    }

    private async ValueTask CloseAsync(CancellationToken cancellationToken)
    {
        if (_node is not { } node)
            return;
        _node = null;
        var id = node.ComputeId(keys);
        _leaves.Add((_leaf, id, await sink.AddAsync(node, id, [.. _children], cancellationToken)));
        Array.Clear(_children);
    }
}
