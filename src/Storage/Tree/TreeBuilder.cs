// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Where finished nodes go: to packs, or nowhere when only the root is wanted.</summary>
internal interface INodeSink
{
    /// <summary>Takes a node, children first; <paramref name="children"/> are those whose place is not known yet, by slot.</summary>
    ValueTask<StoredBlob?> AddAsync(TreeNode node, BlobId id, StoredBlob?[] children, CancellationToken cancellationToken);
}

/// <summary>A tree that comes into being chunk by chunk. One caller at a time.</summary>
internal interface IDiskTree
{
    /// <summary>Puts a chunk; it lies at <paramref name="location"/>, or where <paramref name="blob"/> will.</summary>
    ValueTask SetAsync(long chunk, BlobId id, BlobLocation location, StoredBlob? blob, CancellationToken cancellationToken);

    /// <summary>Makes chunks [from, to) zero, in time that depends on what was there, not on their number.</summary>
    ValueTask ClearAsync(long from, long to, CancellationToken cancellationToken);

    /// <summary>Closes everything; the root's id, and its place if it was inherited.</summary>
    ValueTask<BuiltTree> FinishAsync(CancellationToken cancellationToken);
}

/// <summary>
/// Builds a tree from changes to another one (or to nothing), in increasing order of chunks; what is not mentioned is inherited by id.
/// Holds one node per level. One caller at a time.
/// </summary>
/// <param name="shape">The disk.</param>
/// <param name="origin">What is inherited from.</param>
/// <param name="reader">Reads the origin's nodes.</param>
/// <param name="sink">Takes new nodes.</param>
/// <param name="keys">For ids.</param>
/// <param name="hurt">Nodes of the origin that can't be read; the caller mentions every chunk below them (I21).</param>
internal sealed class TreeBuilder(
    TreeShape shape, TreeRef? origin, TreeReader? reader, INodeSink? sink, RepositoryKeys keys, HurtTree? hurt = null)
    : IDiskTree
{
    private readonly OpenNode?[] _path = new OpenNode?[shape.Depth];
    private readonly TreeNode?[] _grown = new TreeNode?[shape.Depth]; // levels above the origin's root: nodes with that root's path only
    private (BlobId Id, BlobLocation Location) _origin;
    private StoredBlob? _rootBlob;
    private bool _started;
    private long _position;

    private int Top => shape.Depth - 1;

    /// <inheritdoc/>
    public async ValueTask SetAsync(long chunk, BlobId id, BlobLocation location, StoredBlob? blob, CancellationToken cancellationToken)
    {
        await AdvanceAsync(chunk, cancellationToken);
        for (var level = Top; level >= 0; level--)
            await OpenAsync(level, chunk, cancellationToken);
        var leaf = _path[0]!;
        var slot = (int)(chunk % TreeShape.FanOut);
        leaf.Node.Set(slot, in id, location);
        leaf.Children[slot] = blob;
        _position = chunk + 1;
    }

    /// <summary>Puts a leaf that went to the sink before; a tree of one node has none.</summary>
    public async ValueTask SetLeafAsync(long leaf, BlobId id, StoredBlob? blob, CancellationToken cancellationToken)
    {
        var chunk = leaf * TreeShape.FanOut;
        await AdvanceAsync(chunk, cancellationToken);
        for (var level = Top; level > 0; level--)
            await OpenAsync(level, chunk, cancellationToken);
        var slot = (int)(leaf % TreeShape.FanOut);
        _path[1]!.Node.Set(slot, in id, default);
        _path[1]!.Children[slot] = blob;
        _position = chunk + TreeShape.FanOut;
    }

    /// <inheritdoc/>
    public async ValueTask ClearAsync(long from, long to, CancellationToken cancellationToken)
    {
        while (from < to)
        {
            await AdvanceAsync(from, cancellationToken);
            if (_path[Top] is null && _origin.Id.IsZero)
                break;
            await OpenAsync(Top, from, cancellationToken);
            from = await ClearOneAsync(from, to, cancellationToken);
            _position = from;
        }

        _position = Math.Max(_position, to);
    }

    /// <inheritdoc/>
    public async ValueTask<BuiltTree> FinishAsync(CancellationToken cancellationToken)
    {
        await StartAsync(cancellationToken);
        await ClearAsync(Math.Max(_position, shape.ChunkCount), TreeShape.Span(shape.Depth), cancellationToken);
        for (var level = 0; level <= Top; level++)
            await CloseAsync(level, cancellationToken);
        return new BuiltTree(_origin.Id, _origin.Location, _rootBlob);
    }

    private async ValueTask<long> ClearOneAsync(long from, long to, CancellationToken cancellationToken)
    {
        for (var level = Top; ; level--)
        {
            var open = _path[level]!;
            var span = TreeShape.Span(level);
            var slot = (int)(from / span % TreeShape.FanOut);
            var end = (from / span + 1) * span;
            if (from % span == 0 && end <= to)
            {
                open.Node.Clear(slot);
                open.Children[slot] = null;
                Array.Clear(_path, 0, level);
                return end;
            }

            if (level > 0 && _path[level - 1] is null && !open.Node.Has(slot))
                return Math.Min(end, to);
            await OpenAsync(level - 1, from, cancellationToken);
        }
    }

    private async ValueTask StartAsync(CancellationToken cancellationToken)
    {
        if (_started)
            return;
        _started = true;
        await AlignOriginAsync(cancellationToken);

        // A grown node is in no repository yet: opened here, it is stored when it closes, changed or not.
        for (var level = Top; level >= 0 && _grown[level] is not null; level--)
            await OpenAsync(level, 0, cancellationToken);
    }

    private async ValueTask AdvanceAsync(long chunk, CancellationToken cancellationToken)
    {
        await StartAsync(cancellationToken);
        if (chunk < _position)
            throw new ArgumentOutOfRangeException(
                nameof(chunk), $"Chunk {chunk} comes after chunk {_position - 1}; chunks must come in increasing order.");
        for (var level = 0; level <= Top; level++)
        {
            if (_path[level] is not { } open)
                continue;
            if (open.Index == chunk / TreeShape.Span(level + 1))
                break;
            await CloseAsync(level, cancellationToken);
        }
    }

    // A shrunk disk continues from the left spine of the origin; a grown one has the origin's root as its leftmost subtree.
    private async ValueTask AlignOriginAsync(CancellationToken cancellationToken)
    {
        if (origin is null || origin.Root.IsZero)
            return;
        _origin = (origin.Root, origin.Hint);
        var level = origin.Depth - 1;
        for (; level > Top && !_origin.Id.IsZero; level--)
        {
            if (IsLost(_origin.Id))
            {
                _origin = default; // all of the disk is below it, and written anew
                return;
            }

            var node = await reader!.NodeAsync(_origin.Id, _origin.Location, level, origin.ChunkLog2, cancellationToken);
            _origin = node.Has(0) ? (node.Id(0), node.Location(0)) : default;
        }

        for (level++; level <= Top && !_origin.Id.IsZero; level++)
        {
            var node = new TreeNode(level, shape.ChunkLog2);
            node.Set(0, _origin.Id, _origin.Location);
            _grown[level] = node;
            _origin = (node.ComputeId(keys), default);
        }
    }

    private async ValueTask OpenAsync(int level, long chunk, CancellationToken cancellationToken)
    {
        if (_path[level] is not null)
            return;
        var index = chunk / TreeShape.Span(level + 1);
        var (id, location) = level == Top ? _origin : OriginOf(_path[level + 1]!, (int)(index % TreeShape.FanOut));
        TreeNode? from = null;
        if (index == 0 && _grown[level] is { } grown)
            from = grown;
        else if (!id.IsZero && !IsLost(id))
            from = await reader!.NodeAsync(id, location, level, shape.ChunkLog2, cancellationToken);
        _path[level] = new OpenNode(
            from?.Copy() ?? new TreeNode(level, shape.ChunkLog2), from, index, IsLost(id) || (index == 0 && _grown[level] is not null));
    }

    private static (BlobId Id, BlobLocation Location) OriginOf(OpenNode parent, int slot) =>
        parent.Origin is { } node && node.Has(slot) ? (node.Id(slot), node.Location(slot)) : default;

    private bool IsLost(in BlobId id) => hurt is not null && hurt.IsLost(in id);

    private async ValueTask CloseAsync(int level, CancellationToken cancellationToken)
    {
        if (_path[level] is not { } open)
            return;
        _path[level] = null;
        var parent = level == Top ? null : _path[level + 1]!;
        var slot = (int)(open.Index % TreeShape.FanOut);
        var before = parent is null ? _origin : OriginOf(parent, slot);
        if (open.Node.Present == 0)
        {
            parent?.Node.Clear(slot);
            if (parent is null)
                _origin = default;
            return;
        }

        var id = open.Node.ComputeId(keys);
        if (id == before.Id && !open.MustStore)
            return; // inherited whole, wherever it lies
        var blob = sink is null ? null : await sink.AddAsync(open.Node, id, open.Children, cancellationToken);
        if (parent is null)
        {
            _origin = (id, default);
            _rootBlob = blob;
            return;
        }

        parent.Node.Set(slot, in id, default);
        parent.Children[slot] = blob;
    }

    // A node that must be stored is in no repository yet, or no longer: closing it unchanged is no reason to leave it out.
    private sealed record OpenNode(TreeNode Node, TreeNode? Origin, long Index, bool MustStore)
    {
        public StoredBlob?[] Children { get; } = new StoredBlob?[TreeShape.FanOut];
    }
}

/// <summary>A finished tree: its root lies at <paramref name="Location"/>, or where <paramref name="Blob"/> does.</summary>
internal readonly record struct BuiltTree(BlobId Root, BlobLocation Location, StoredBlob? Blob);
