// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Which damaged objects a restore point needs: by where its hints lead, or by the damaged blobs themselves where those are
/// known.</summary>
internal sealed class DamageReach(BlobReader blobs, HashSet<string> objects, HashSet<BlobId> damagedBlobs)
{
    private static readonly HashSet<string> Nothing = [];
    private readonly Dictionary<BlobId, HashSet<string>> _byNode = [];

    public async Task<IReadOnlySet<string>> OfAsync(RestorePoint point, CancellationToken cancellationToken)
    {
        var found = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tree in VerifyRun.TreesOf(point).Where(tree => !tree.Root.IsZero))
            found.UnionWith(await OfNodeAsync(tree.Root, tree.Hint, tree.Depth - 1, tree.ChunkLog2, cancellationToken));
        return found;
    }

    private async Task<HashSet<string>> OfNodeAsync(
        BlobId id, BlobLocation location, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        if (_byNode.TryGetValue(id, out var known))
            return known;
        var found = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            var node = await blobs.ReadNodeAsync(id, location, level, chunkLog2, cancellationToken);
            for (var slot = 0; slot < TreeShape.FanOut; slot++)
            {
                if (!node.Has(slot))
                    continue;
                if (level > 0)
                    found.UnionWith(await OfNodeAsync(node.Id(slot), node.Location(slot), level - 1, chunkLog2, cancellationToken));
                else if (await DamageOfAsync(node.Id(slot), node.Location(slot), cancellationToken) is { } damaged)
                    found.Add(damaged);
            }
        }
        catch (RepositoryDamagedException failure) when (objects.Contains(failure.DamagedObject))
        {
            found.Add(failure.DamagedObject);
        }

        return _byNode[id] = found.Count == 0 ? Nothing : found;
    }

    private async ValueTask<string?> DamageOfAsync(BlobId id, BlobLocation location, CancellationToken cancellationToken)
    {
        if (!location.IsKnown)
            location = await blobs.LookUpAsync(id, 0, cancellationToken);
        if (location.Pack is null && damagedBlobs.Contains(id) && objects.Contains(ObjectNames.Index))
            return ObjectNames.Index;
        if (location.Pack is not { } pack || !objects.Contains(pack.Key))
            return null;
        return damagedBlobs.Count == 0 || damagedBlobs.Contains(id) ? pack.Key : null;
    }
}
