// SPDX-License-Identifier: Apache-2.0
using System.Numerics;

namespace Tidemark.Storage;

/// <summary>Counts the chunks of trees that are not zero; each node is read once, and remembered by its count.</summary>
internal sealed class ChunkCount(RepositoryContext context) : IDisposable
{
    private readonly BlobReader _blobs = new(context);
    private readonly Dictionary<BlobId, long> _known = [];

    /// <exception cref="RepositoryDamagedException">A node can't be read.</exception>
    public async ValueTask<long> OfAsync(TreeRef tree, CancellationToken cancellationToken) => tree.Root.IsZero
        ? 0
        : await OfAsync(tree.Root, tree.Hint, tree.Depth - 1, tree.ChunkLog2, cancellationToken);

    public void Dispose() => _blobs.Dispose();

    private async ValueTask<long> OfAsync(BlobId id, BlobLocation hint, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        if (_known.TryGetValue(id, out var known))
            return known;
        var node = await _blobs.ReadNodeAsync(id, hint, level, chunkLog2, cancellationToken);
        long count = 0;
        if (level == 0)
            count = BitOperations.PopCount(node.Present);
        for (var slot = 0; level > 0 && slot < TreeShape.FanOut; slot++)
        {
            if (node.Has(slot))
                count += await OfAsync(node.Id(slot), node.Location(slot), level - 1, chunkLog2, cancellationToken);
        }

        return _known[id] = count;
    }
}
