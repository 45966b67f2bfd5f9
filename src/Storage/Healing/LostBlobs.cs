// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// The blobs that are lost (docs/format.md section 9, healing), as a run finds them when it begins. Costs nothing while bad/ is empty;
/// else the index is read once more, and foreign copies of what is quarantined are opened. Memory: the ids of the quarantined packs.
/// </summary>
internal sealed class LostBlobs
{
    private readonly IReadOnlySet<BlobId> _ids;

    private LostBlobs(IReadOnlySet<BlobId> ids) => _ids = ids;

    public static LostBlobs None { get; } = new(new HashSet<BlobId>());

    public bool IsEmpty => _ids.Count == 0;

    public bool Contains(in BlobId id) => _ids.Contains(id);

    /// <param name="context">The repository.</param>
    /// <param name="listing">What the run found when it began.</param>
    /// <param name="index">The run's index, which leaves quarantined packs out.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static async Task<LostBlobs> ReadAsync(
        RepositoryContext context, IndexListing listing, RepositoryIndex index, CancellationToken cancellationToken)
    {
        if (listing.Quarantined.Count == 0)
            return None;
        var packs = await Quarantine.ReadAsync(context, listing.Quarantined, null, cancellationToken);
        var candidates = packs.Values.SelectMany(pack => pack.Blobs ?? new HashSet<BlobId>()).ToHashSet();
        var whole = packs.Where(pack => pack.Value.Blobs is null).Select(pack => pack.Key).ToHashSet(StringComparer.Ordinal);
        await foreach (var entry in PackEntries.OfAsync(context, listing.Segments, whole.Contains, null, cancellationToken))
            candidates.Add(entry.Entry.Id);
        await index.EnsureLoadedAsync(cancellationToken);
        var keys = new DataKeys(context.Keys, await KeyDomain.ListAsync(context.Store, cancellationToken));
        var lost = new HashSet<BlobId>();
        foreach (var id in candidates)
        {
            if (!await HasCopyAsync(context, keys, index, id, cancellationToken))
                lost.Add(id);
        }

        return new LostBlobs(lost);
    }

    private static async ValueTask<bool> HasCopyAsync(
        RepositoryContext context, DataKeys keys, RepositoryIndex index, BlobId id, CancellationToken cancellationToken)
    {
        for (var copy = 0; index.Find(in id, copy) is { } found; copy++)
        {
            if (await index.IsPresentAsync(found.Entry.Pack, cancellationToken)
                && ((found.Pack.Name.Writer == context.Writer && !index.IsHearsay(found.Entry.Pack))
                    || await BlobProbe.OpensAsync(context, keys, found.Pack.Name.Key, found.Entry, cancellationToken)))
                return true;
        }

        return false;
    }
}
