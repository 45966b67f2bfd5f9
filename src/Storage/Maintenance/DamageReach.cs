// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Which damaged objects a restore point needs: those that hold blobs which are lost, and what turns out unreadable on the way. Each
/// subtree is walked once, whatever number of points share it.
/// </summary>
/// <param name="blobs">Reads nodes, every copy tried.</param>
/// <param name="lost">Lost blobs, and the objects that should hold them.</param>
/// <param name="discovered">Told of nodes that do not open and were not known to be lost.</param>
/// <param name="unread">Told of what the store fails for good to read: what lies below a node there is not known.</param>
internal sealed class DamageReach(
    BlobReader blobs, IReadOnlyDictionary<BlobId, IReadOnlyList<string>> lost, Action<BlobId, RepositoryDamagedException> discovered,
    Action<string, StoreException> unread)
{
    private static readonly HashSet<string> Nothing = [];
    private readonly Dictionary<BlobId, HashSet<string>> _byNode = [];

    public async Task<IReadOnlySet<string>> OfAsync(RestorePoint point, CancellationToken cancellationToken)
    {
        var found = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tree in point.Trees.Where(tree => !tree.Root.IsZero))
            found.UnionWith(await OfNodeAsync(tree.Root, tree.Hint, tree.Depth - 1, tree.ChunkLog2, cancellationToken));
        return found;
    }

    private async Task<HashSet<string>> OfNodeAsync(
        BlobId id, BlobLocation location, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        if (_byNode.TryGetValue(id, out var known))
            return known;
        var found = new HashSet<string>(StringComparer.Ordinal);
        if (lost.TryGetValue(id, out var holders))
            found.UnionWith(holders);
        try
        {
            var node = await blobs.ReadNodeAsync(id, location, level, chunkLog2, cancellationToken);
            for (var slot = 0; slot < TreeShape.FanOut; slot++)
            {
                if (!node.Has(slot))
                    continue;
                if (level > 0)
                    found.UnionWith(await OfNodeAsync(node.Id(slot), node.Location(slot), level - 1, chunkLog2, cancellationToken));
                else if (lost.TryGetValue(node.Id(slot), out holders))
                    found.UnionWith(holders);
            }
        }
        catch (RepositoryDamagedException failure)
        {
            if (found.Count == 0)
                discovered(id, failure);
            found.Add(failure.DamagedObject);
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            unread(location.Pack?.Key ?? ObjectNames.Index, failure);
        }

        return _byNode[id] = found.Count == 0 ? Nothing : found;
    }
}
