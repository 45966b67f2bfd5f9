// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Marks what trees reach, each node read once whatever number of trees share it: a node is marked only together with everything below
/// it. Marks live in the index's table; only blobs that no segment names cost memory of their own. One caller.
/// </summary>
internal sealed class LiveMark(RepositoryContext context, CollectorIndex index) : IDisposable
{
    /// <summary>Reachable.</summary>
    public const byte Live = 1;

    private const int NodesAtOnce = 512;
    private const int ReadsAtOnce = 16;
    private readonly BlobReader _blobs = new(context);
    private readonly HashSet<BlobId> _unindexed = [];
    private readonly Stack<WantedNode> _wanted = [];
    private readonly TreeNode?[] _read = new TreeNode?[NodesAtOnce];

    /// <summary>Nodes read so far.</summary>
    public long Nodes { get; private set; }

    /// <exception cref="RepositoryDamagedException">A node can't be read anywhere (I18).</exception>
    public Task AddAsync(TreeRef tree, CancellationToken cancellationToken) =>
        AddAsync(new WantedNode(tree.Root, tree.Hint, tree.Depth - 1, tree.ChunkLog2), cancellationToken);

    /// <summary>
    /// A root no segment names belongs to a point made after the segments were read, or to none any more: its run came after the packs
    /// were condemned, and uses nothing of them but what it inherits from a point seen or pinned by itself.
    /// </summary>
    /// <exception cref="RepositoryDamagedException">A node can't be read anywhere (I18).</exception>
    public async Task AddAsync(Pin pin, CancellationToken cancellationToken)
    {
        if (pin.Root.Length != 2 * BlobId.Size || !pin.Root.All(char.IsAsciiHexDigit))
            return;
        var root = BlobId.Parse(pin.Root);
        if (pin.Depth is > 0 and <= StorageLimits.MaxDepth && index.Table.Find(in root, 0) >= 0)
            await AddAsync(new WantedNode(root, default, pin.Depth - 1, 0), cancellationToken);
    }

    public void Dispose() => _blobs.Dispose();

    private async Task AddAsync(WantedNode root, CancellationToken cancellationToken)
    {
        if (root.Id.IsZero || !IsFirst(root.Id, root.Hint))
            return;
        _wanted.Push(root);
        while (_wanted.Count > 0)
        {
            var batch = new WantedNode[Math.Min(_wanted.Count, NodesAtOnce)];
            for (var i = 0; i < batch.Length; i++)
                batch[i] = _wanted.Pop();
            if (batch.Length == 1)
                _read[0] = await ReadAsync(batch[0], cancellationToken);
            else
                await Parallel.ForEachAsync(
                    Enumerable.Range(0, batch.Length), context.Scheduler.AtOnce(ReadsAtOnce, cancellationToken),
                    async (i, token) => _read[i] = await ReadAsync(batch[i], token));
            for (var i = 0; i < batch.Length; i++)
                MarkChildren(_read[i]!, batch[i].ChunkLog2);
            Nodes += batch.Length;
        }
    }

    private void MarkChildren(TreeNode node, int chunkLog2)
    {
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            if (node.Has(slot) && IsFirst(in node.Id(slot), node.Location(slot)) && node.Level > 0)
                _wanted.Push(new WantedNode(node.Id(slot), node.Location(slot), node.Level - 1, chunkLog2));
        }
    }

    // Every copy is marked, so that a look at a slot tells whether it holds something live.
    private bool IsFirst(in BlobId id, BlobLocation hint)
    {
        var slot = index.Table.Find(in id, 0);
        if (slot < 0)
        {
            if (hint.Pack is { } pack)
                index.HintAt(pack);
            return _unindexed.Add(id);
        }

        if ((index.Table.Marks(slot) & Live) != 0)
            return false;
        for (var copy = 1; slot >= 0; copy++)
        {
            index.Table.Marks(slot) |= Live;
            slot = index.Table.Find(in id, copy);
        }

        return true;
    }

    private async ValueTask<TreeNode> ReadAsync(WantedNode wanted, CancellationToken cancellationToken)
    {
        if (await _blobs.TryReadNodeAsync(wanted.Id, wanted.Hint, wanted.Level, wanted.ChunkLog2, cancellationToken) is { } node)
            return node;
        var place = wanted.Hint.Pack;
        for (var copy = 0; ; copy++)
        {
            var slot = index.Table.Find(wanted.Id, copy);
            if (slot < 0)
                throw new RepositoryDamagedException(
                    place?.Key ?? ObjectNames.Index, $"node '{wanted.Id}' of a restore point", "no place that holds it");
            var entry = index.Table.Get(slot);
            var pack = index.Packs[(int)entry.Pack].Name;
            var location = new BlobLocation(pack, entry.Offset, entry.Length);
            if (location != wanted.Hint
                && await _blobs.TryReadNodeAsync(wanted.Id, location, wanted.Level, wanted.ChunkLog2, cancellationToken) is { } other)
                return other;
            place ??= pack;
        }
    }

    private readonly record struct WantedNode(BlobId Id, BlobLocation Hint, int Level, int ChunkLog2);
}
