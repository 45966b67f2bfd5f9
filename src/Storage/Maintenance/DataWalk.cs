// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Opens every chunk and node that trees reach, each once, whatever number of trees share it. Marks are kept in the index's table, by
/// themselves only for blobs the index does not know. What is damaged, or what the store fails for good to read, is reported.
/// </summary>
internal sealed class DataWalk(
    RepositoryContext context, BlobReader blobs, Action<BlobId, BlobLocation, Exception> failed, Action<long> advance)
{
    private readonly HashSet<BlobId> _unindexed = [];
    private readonly List<WantedChunk> _wanted = [];
    private RepositoryIndex? _index;
    private int _chunkSize;

    /// <summary>Chunks and nodes opened so far.</summary>
    public long Blobs { get; private set; }

    public async Task AddTreeAsync(TreeRef tree, CancellationToken cancellationToken)
    {
        _index ??= await blobs.IndexAsync(cancellationToken);
        if (tree.Shape.ChunkSize != _chunkSize)
            await FinishAsync(cancellationToken);
        _chunkSize = tree.Shape.ChunkSize;
        if (!tree.Root.IsZero)
            await AddNodeAsync(tree.Root, tree.Hint, tree.Depth - 1, tree.ChunkLog2, cancellationToken);
    }

    /// <summary>Opens the chunks gathered so far.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        if (_wanted.Count == 0)
            return;
        Blobs += _wanted.Count;
        var planned = new PlannedChunks(context, blobs, _chunkSize);
        await planned.ReadAsync(_wanted, Seen, (chunk, failure) => failed(chunk.Id, chunk.Location, failure), cancellationToken);
        _wanted.Clear();
    }

    private ValueTask Seen(WantedChunk chunk, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        advance(content.Length);
        return ValueTask.CompletedTask;
    }

    private async Task AddNodeAsync(BlobId id, BlobLocation location, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        if (!IsFirst(in id))
            return;
        TreeNode node;
        try
        {
            Blobs++;
            node = await blobs.ReadNodeAsync(id, location, level, chunkLog2, cancellationToken);
        }
        catch (Exception failure) when (failure is RepositoryDamagedException or StoreException { IsTransient: false })
        {
            failed(id, location, failure);
            return;
        }

        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            if (!node.Has(slot))
                continue;
            if (level > 0)
                await AddNodeAsync(node.Id(slot), node.Location(slot), level - 1, chunkLog2, cancellationToken);
            else if (IsFirst(node.Id(slot)))
                _wanted.Add(new WantedChunk(0, node.Id(slot), node.Location(slot)));
        }

        if (_wanted.Count >= PlannedChunks.PlanSize)
            await FinishAsync(cancellationToken);
    }

    private bool IsFirst(in BlobId id) => _index!.TryMark(in id) ?? _unindexed.Add(id);
}
