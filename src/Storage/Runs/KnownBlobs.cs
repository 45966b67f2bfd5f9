// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>The answer to "is this blob known?": where it lies, where it will lie, or that the caller is to store it.</summary>
internal readonly record struct Claim(bool IsNew, BlobLocation Location, StoredBlob? Blob);

/// <summary>
/// Which blobs a run need not store: those of the index that may be reused (I10), and those this run stored or is storing.
/// Of several workers with the same new blob one is told to store it. Safe from any thread.
/// </summary>
internal sealed class KnownBlobs(RepositoryContext context, RepositoryIndex index, BlobReader reader)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<BlobId, StoredBlob> _underway = [];

    public async ValueTask<Claim> ClaimAsync(BlobId id, int chunkSize, CancellationToken cancellationToken)
    {
        await index.EnsureLoadedAsync(cancellationToken);
        (IndexEntry Entry, IndexedPack Pack)? found;
        lock (_gate)
        {
            if (_underway.TryGetValue(id, out var blob))
                return new Claim(false, default, blob);
            found = index.Find(in id);
            if (found is null)
                return NewClaim(id);
        }

        var (entry, pack) = found.Value;
        var location = new BlobLocation(pack.Name, entry.Offset, entry.Length);
        if (entry.Kind == BlobKind.Chunk && await index.IsPresentAsync(entry.Pack, cancellationToken)
            && (pack.Name.Writer == context.Writer || await IsProvenAsync(id, location, chunkSize, cancellationToken)))
            return new Claim(false, location, null);
        lock (_gate)
            return _underway.TryGetValue(id, out var blob) ? new Claim(false, default, blob) : NewClaim(id);
    }

    /// <summary>A node need not be stored when it is known; asked without loading an index for it.</summary>
    public Claim ClaimNode(in BlobId id)
    {
        lock (_gate)
        {
            if (_underway.TryGetValue(id, out var blob))
                return new Claim(false, default, blob);
            if (index.IsLoaded && index.Find(in id) is { } found && found.Pack.Name.Writer == context.Writer && found.Entry.Kind == BlobKind.Node
                && index.IsPresentAsync(found.Entry.Pack, CancellationToken.None) is { IsCompletedSuccessfully: true } present
                && present.GetAwaiter().GetResult())
                return new Claim(false, new BlobLocation(found.Pack.Name, found.Entry.Offset, found.Entry.Length), null);
            return NewClaim(id);
        }
    }

    /// <summary>A pack is durable: what it holds is found in the index from now on.</summary>
    public void Closed(OpenPack pack)
    {
        lock (_gate)
        {
            index.Add(new IndexedPack(pack.Name!, (uint)pack.Length), pack.Entries);
            foreach (var entry in pack.Entries)
                _underway.Remove(entry.Id);
        }
    }

    // Caller holds _gate.
    private Claim NewClaim(in BlobId id)
    {
        var blob = new StoredBlob();
        _underway.Add(id, blob);
        return new Claim(true, default, blob);
    }

    private async ValueTask<bool> IsProvenAsync(BlobId id, BlobLocation location, int chunkSize, CancellationToken cancellationToken)
    {
        if (index.IsChecked(in id))
            return true;
        var buffer = ArrayPool<byte>.Shared.Rent(chunkSize);
        try
        {
            if (!await reader.TryReadChunkAsync(id, location, buffer.AsMemory(0, chunkSize), cancellationToken))
                return false;
            index.MarkChecked(in id);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
