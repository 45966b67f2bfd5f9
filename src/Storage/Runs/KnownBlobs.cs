// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>The answer to "is this blob known?": where it lies, where it will lie, or that the caller is to store it.</summary>
internal readonly record struct Claim(bool IsNew, BlobLocation Location, StoredBlob? Blob);

/// <summary>
/// Which blobs a run need not store: those of the index that may be reused (I10), and those this run stored or is storing.
/// Of several workers with the same new blob one is told to store it. Safe from any thread.
/// </summary>
/// <param name="context">The repository.</param>
/// <param name="index">What is known.</param>
/// <param name="reader">Opens what others made.</param>
/// <param name="others">Told of chunks that are found nowhere.</param>
/// <param name="name">Names a pack that no segment names, before the run relies on it.</param>
internal sealed class KnownBlobs(
    RepositoryContext context, RepositoryIndex index, BlobReader reader, OtherRuns others,
    Func<IndexedPack, CancellationToken, Task> name)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<BlobId, StoredBlob> _underway = [];

    public async ValueTask<Claim> ClaimAsync(BlobId id, int chunkSize, CancellationToken cancellationToken)
    {
        await index.EnsureLoadedAsync(cancellationToken);
        for (var copy = 0; ; copy++)
        {
            (IndexEntry Entry, IndexedPack Pack)? found;
            lock (_gate)
            {
                // Looked up and claimed at once: what another worker stores is either underway or in the index, never in between.
                if (_underway.TryGetValue(id, out var blob))
                    return new Claim(false, default, blob);
                found = index.Find(in id, copy);
                if (found is null)
                {
                    others.MustStore(chunkSize);
                    return NewClaim(id);
                }
            }

            if (await TryUseAsync(found.Value.Entry, found.Value.Pack, chunkSize, cancellationToken) is { } location)
                return new Claim(false, location, null);
        }
    }

    /// <summary>A node need not be stored when it is known; asked without loading an index for it.</summary>
    public Claim ClaimNode(in BlobId id)
    {
        lock (_gate)
        {
            if (_underway.TryGetValue(id, out var blob))
                return new Claim(false, default, blob);
            if (index.IsLoaded && index.Find(in id, 0) is { } found && found.Pack.Name.Writer == context.Writer
                && !index.IsHearsay(found.Entry.Pack)
                && found.Entry.Kind == BlobKind.Node
                && index.IsPresentAsync(found.Entry.Pack, CancellationToken.None) is { IsCompletedSuccessfully: true } present
                && present.GetAwaiter().GetResult())
                return new Claim(false, new BlobLocation(found.Pack.Name, found.Entry.Offset, found.Entry.Length), null);
            return NewClaim(id);
        }
    }

    /// <summary>A pack is durable: what it holds is found in the index from now on.</summary>
    public void Closed(OpenPack pack) => Closed(new IndexedPack(pack.Name!, (uint)pack.Length), pack.Entries);

    /// <summary>The same for a pack that was taken over.</summary>
    public void Closed(IndexedPack pack, IReadOnlyList<PackEntry> entries)
    {
        lock (_gate)
        {
            index.Add(pack, entries);
            foreach (var entry in entries)
                _underway.Remove(entry.Id);
        }
    }

    /// <summary>Where a chunk lies that may be reused, and now counts as used; null when there is no such place.</summary>
    public async ValueTask<BlobLocation?> FindAsync(BlobId id, int chunkSize, CancellationToken cancellationToken)
    {
        await index.EnsureLoadedAsync(cancellationToken);
        for (var copy = 0; index.Find(in id, copy) is { } found; copy++)
        {
            if (await TryUseAsync(found.Entry, found.Pack, chunkSize, cancellationToken) is { } location)
                return location;
        }

        return null;
    }

    // Caller holds _gate.
    private Claim NewClaim(in BlobId id)
    {
        var blob = new StoredBlob();
        _underway.Add(id, blob);
        return new Claim(true, default, blob);
    }

    private async ValueTask<BlobLocation?> TryUseAsync(
        IndexEntry entry, IndexedPack pack, int chunkSize, CancellationToken cancellationToken)
    {
        if (!await MayReuseAsync(entry, pack, chunkSize, cancellationToken))
            return null;
        if (index.IsFirstUse(entry.Pack))
            await name(pack, cancellationToken);
        return new BlobLocation(pack.Name, entry.Offset, entry.Length);
    }

    private async ValueTask<bool> MayReuseAsync(IndexEntry entry, IndexedPack pack, int chunkSize, CancellationToken cancellationToken)
    {
        if (entry.Kind != BlobKind.Chunk || !await index.IsPresentAsync(entry.Pack, cancellationToken))
            return false;
        if ((pack.Name.Writer == context.Writer && !index.IsHearsay(entry.Pack)) || index.IsChecked(entry))
            return true;
        var buffer = ArrayPool<byte>.Shared.Rent(chunkSize);
        try
        {
            var location = new BlobLocation(pack.Name, entry.Offset, entry.Length);
            if (!await reader.TryReadChunkAsync(entry.Id, location, buffer.AsMemory(0, chunkSize), cancellationToken))
                return false;
            index.MarkChecked(entry);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
