// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Walks stored trees, many nodes at once, in no order; which blobs it enters the derived class says. A node is entered only together
/// with everything below it that is entered. One caller.
/// </summary>
internal abstract class TreeWalk(RepositoryContext context, CollectorIndex index) : IDisposable
{
    private const int NodesAtOnce = 512;
    private const int ReadsAtOnce = 16;
    private readonly BlobReader _blobs = new(context);
    private readonly Stack<WantedNode> _wanted = [];
    private readonly TreeNode?[] _read = new TreeNode?[NodesAtOnce];

    protected CollectorIndex Index => index;

    public void Dispose() => _blobs.Dispose();

    /// <summary>Whether to go on to what lies below a blob; called for chunks too.</summary>
    protected abstract bool Enter(in BlobId id, BlobLocation hint);

    /// <summary>A chunk size of 0 stands for any. A node that no place holds is passed over where the tree may be given up.</summary>
    /// <exception cref="RepositoryDamagedException">A node can't be read anywhere (I18).</exception>
    protected async Task WalkAsync(
        BlobId root, BlobLocation hint, int depth, int chunkLog2, CancellationToken cancellationToken, bool mayBeGivenUp = false)
    {
        if (root.IsZero || !Enter(in root, hint))
            return;
        _wanted.Push(new WantedNode(root, hint, depth - 1, chunkLog2));
        while (_wanted.Count > 0)
        {
            var batch = new WantedNode[Math.Min(_wanted.Count, NodesAtOnce)];
            for (var i = 0; i < batch.Length; i++)
                batch[i] = _wanted.Pop();
            if (batch.Length == 1)
                _read[0] = await ReadAsync(batch[0], mayBeGivenUp, cancellationToken);
            else
                await Parallel.ForEachAsync(
                    Enumerable.Range(0, batch.Length), context.Scheduler.AtOnce(ReadsAtOnce, cancellationToken),
                    async (i, token) => _read[i] = await ReadAsync(batch[i], mayBeGivenUp, token));
            for (var i = 0; i < batch.Length; i++)
            {
                if (_read[i] is { } node)
                    EnterChildren(node, batch[i].ChunkLog2);
            }
        }
    }

    private void EnterChildren(TreeNode node, int chunkLog2)
    {
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            if (node.Has(slot) && Enter(in node.Id(slot), node.Location(slot)) && node.Level > 0)
                _wanted.Push(new WantedNode(node.Id(slot), node.Location(slot), node.Level - 1, chunkLog2));
        }
    }

    private async ValueTask<TreeNode?> ReadAsync(WantedNode wanted, bool mayBeGivenUp, CancellationToken cancellationToken)
    {
        if (await _blobs.TryReadNodeAsync(wanted.Id, wanted.Hint, wanted.Level, wanted.ChunkLog2, cancellationToken) is { } node)
            return node;
        var place = wanted.Hint.Pack;
        for (var copy = 0; ; copy++)
        {
            var slot = index.Table.Find(wanted.Id, copy);
            if (slot < 0 && copy == 0 && mayBeGivenUp)
                return null;
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
