// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>
/// Reads blobs and proves them (I7): by the hint first, else where the index says (I9). Safe from any thread; owns nothing but the index
/// it loads when a hint fails.
/// </summary>
/// <param name="context">The repository, in the key domain of the chunks.</param>
/// <param name="indexed">Another reader, which outlives this one, whose index serves both; null for an index of its own.</param>
internal sealed class BlobReader(RepositoryContext context, BlobReader? indexed = null) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Task<RepositoryIndex>> _replaced = []; // others may still look something up there
    private Task<RepositoryIndex>? _index;

    /// <summary>See <see cref="RepositoryIndex.Unread"/>.</summary>
    public Action<string, StoreException>? Unread { get; init; }

    /// <summary>Fills <paramref name="chunk"/>, which has the chunk's size, from the repository.</summary>
    /// <exception cref="RepositoryDamagedException">No place has these bytes.</exception>
    /// <exception cref="StoreException">The store failed for a place, and no other has them.</exception>
    public async ValueTask ReadChunkAsync(BlobId id, BlobLocation hint, Memory<byte> chunk, CancellationToken cancellationToken) =>
        await ReadAnywhereAsync(id, "chunk", hint, place => TryReadChunkAsync(id, place, chunk, cancellationToken), cancellationToken);

    /// <summary>A node of a tree, from the cache or the repository.</summary>
    /// <exception cref="RepositoryDamagedException">No place has this node.</exception>
    /// <exception cref="StoreException">The store failed for a place, and no other has it.</exception>
    public async ValueTask<TreeNode> ReadNodeAsync(
        BlobId id, BlobLocation hint, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        if (context.Nodes.Find(id) is { } cached && cached.Level == level)
            return cached;
        TreeNode? node = null;
        await ReadAnywhereAsync(
            id, "node", hint,
            async place => (node = await TryReadNodeAsync(id, place, level, chunkLog2, cancellationToken)) is not null, cancellationToken);
        context.Nodes.Add(id, node!);
        return node!;
    }

    // The hint, then every copy that the index names, then those of a newer index. One of them may lie on a bad sector while another
    // can be read; only when none is good does the failure count, and it is the store's, no damage (I20).
    private async ValueTask ReadAnywhereAsync(
        BlobId id, string what, BlobLocation hint, Func<BlobLocation, ValueTask<bool>> read, CancellationToken cancellationToken)
    {
        StoreException? unread = null;
        try
        {
            if (await TryAsync(hint))
                return;
            var first = hint;
            do
            {
                for (var copy = 0; await LookUpAsync(id, copy, cancellationToken) is { IsKnown: true } other; copy++)
                {
                    if (other != hint && await TryAsync(other))
                        return;
                    first = first.IsKnown ? first : other;
                }
            }
            while (await ReloadAsync(cancellationToken));

            if (unread is null)
                throw await DamageAsync(id, what, first, cancellationToken);
        }
        catch (StoreException) when (unread is not null)
        {
            // What failed first says more than what failed in the search for another place.
        }

        throw new StoreException(unread.Message, unread.IsTransient, unread) { Hint = unread.Hint };

        async ValueTask<bool> TryAsync(BlobLocation place)
        {
            try
            {
                return await read(place);
            }
            catch (StoreException failure) when (!failure.IsTransient)
            {
                unread ??= failure;
                return false;
            }
        }
    }

    /// <summary>Opens a chunk's blob that was already read; false when it is not that chunk.</summary>
    public bool TryOpenChunk(in BlobId id, ReadOnlySpan<byte> blob, Span<byte> chunk)
    {
        var scratch = ArrayPool<byte>.Shared.Rent(blob.Length);
        try
        {
            using var codec = context.Codecs.Rent();
            return BlobSealer.TryOpen(context.Keys, codec.Codec, BlobKind.Chunk, in id, blob, scratch, chunk) == chunk.Length
                && context.Keys.ChunkId(chunk) == id;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
        }
    }

    public async ValueTask<bool> TryReadChunkAsync(
        BlobId id, BlobLocation location, Memory<byte> chunk, CancellationToken cancellationToken)
    {
        if (!location.IsKnown || location.Length > BlobSealer.Overhead + chunk.Length)
            return false;
        var blob = ArrayPool<byte>.Shared.Rent((int)location.Length);
        try
        {
            return await TryFetchAsync(context.Store, location, blob, cancellationToken)
                && TryOpenChunk(id, blob.AsSpan(0, (int)location.Length), chunk.Span);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(blob);
        }
    }

    /// <summary>Where the index says a copy of a blob lies, after <paramref name="skip"/> others; loads the index on first use.</summary>
    public async ValueTask<BlobLocation> LookUpAsync(BlobId id, int skip, CancellationToken cancellationToken)
    {
        var index = await IndexAsync(cancellationToken);
        return index.Find(id, skip) is { } found ? new BlobLocation(found.Pack.Name, found.Entry.Offset, found.Entry.Length) : default;
    }

    public void Dispose()
    {
        foreach (var index in _replaced.Append(_index))
        {
            if (index is { IsCompletedSuccessfully: true })
                index.GetAwaiter().GetResult().Dispose();
        }
    }

    /// <summary>The index of everything committed, loaded once.</summary>
    public Task<RepositoryIndex> IndexAsync(CancellationToken cancellationToken)
    {
        if (indexed is not null)
            return indexed.IndexAsync(cancellationToken);
        lock (_gate)
            _index = _index is null or { IsFaulted: true } ? LoadAsync() : _index;
        return _index.OrCancelled(cancellationToken);
    }

    /// <summary>Loads the index anew if a collector has finished since it was loaded, and so may have moved what is looked for; false
    /// if none has.</summary>
    private async ValueTask<bool> ReloadAsync(CancellationToken cancellationToken)
    {
        if (indexed is not null)
            return await indexed.ReloadAsync(cancellationToken);
        var before = _index;
        var loaded = await IndexAsync(cancellationToken);
        var epochs = await EpochListing.ReadAsync(context, cancellationToken);
        if (epochs.IndexEpoch == loaded.Epoch)
            return false;
        lock (_gate)
        {
            if (ReferenceEquals(_index, before) && before is not null)
            {
                _replaced.Add(before);
                _index = null;
            }
        }

        return true;
    }

    private async Task<RepositoryIndex> LoadAsync()
    {
        var listing = await IndexListing.ReadAsync(context, forWriting: false, CancellationToken.None);
        var index = new RepositoryIndex(context, listing) { Unread = Unread };
        await index.EnsureLoadedAsync(CancellationToken.None);
        return index;
    }

    /// <summary>A node from one place, past the cache; null when that place does not hold it.</summary>
    public async ValueTask<TreeNode?> TryReadNodeAsync(
        BlobId id, BlobLocation location, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        if (!location.IsKnown || location.Length > BlobSealer.Overhead + TreeNode.MaxSize)
            return null;
        var (store, uncached) = (context.Store, context.Store.Uncached);
        var node = await TryReadNodeAsync(store, id, location, level, chunkLog2, cancellationToken);
        return node is null && store != uncached
            ? await TryReadNodeAsync(uncached, id, location, level, chunkLog2, cancellationToken)
            : node;
    }

    private async ValueTask<TreeNode?> TryReadNodeAsync(
        IObjectStore store, BlobId id, BlobLocation location, int level, int chunkLog2, CancellationToken cancellationToken)
    {
        var blob = ArrayPool<byte>.Shared.Rent((int)location.Length);
        try
        {
            return await TryFetchAsync(store, location, blob, cancellationToken)
                ? OpenNode(id, location, blob.AsSpan(0, (int)location.Length), level, chunkLog2)
                : null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(blob);
        }
    }

    /// <summary>Whether a place holds this node, of whatever level.</summary>
    public async ValueTask<bool> IsNodeAsync(BlobId id, BlobLocation location, CancellationToken cancellationToken)
    {
        for (var level = 0; level < StorageLimits.MaxDepth; level++)
        {
            if (await TryReadNodeAsync(id, location, level, 0, cancellationToken) is not null)
                return true;
        }

        return false;
    }

    private TreeNode? OpenNode(in BlobId id, BlobLocation location, ReadOnlySpan<byte> blob, int level, int chunkLog2)
    {
        Span<byte> plain = stackalloc byte[TreeNode.MaxSize];
        Span<byte> scratch = stackalloc byte[TreeNode.MaxSize];
        using var codec = context.Codecs.Rent();
        var length = BlobSealer.TryOpen(context.Keys, codec.Codec, BlobKind.Node, in id, blob, scratch, plain);
        if (length < 0)
            return null;
        var node = TreeNode.TryRead(plain[..length], level, chunkLog2, location.Pack, out var identity);
        return node is not null && context.Keys.NodeId(plain[..identity]) == id ? node : null;
    }

    private static async ValueTask<bool> TryFetchAsync(
        IObjectStore store, BlobLocation location, byte[] blob, CancellationToken cancellationToken)
    {
        try
        {
            var target = blob.AsMemory(0, (int)location.Length);
            return await store.ReadAsync(location.Pack!.Key, location.Offset, target, cancellationToken) == target.Length;
        }
        catch (ObjectMissingException)
        {
            return false;
        }
    }

    private async Task<RepositoryDamagedException> DamageAsync(
        BlobId id, string what, BlobLocation location, CancellationToken cancellationToken)
    {
        if (!location.IsKnown)
            return new RepositoryDamagedException("index/", $"the place of {what} '{id}'", "none");
        var info = await context.Store.HeadAsync(location.Pack!.Key, cancellationToken);
        var expected = $"{what} '{id}' at offset {location.Offset}";
        if (info is null)
            return new RepositoryDamagedException(location.Pack.Key, expected, "no such object");
        return info.Value.Size < location.Offset + (long)location.Length
            ? new RepositoryDamagedException(location.Pack.Key, expected, $"an object of {info.Value.Size} bytes")
            : new RepositoryDamagedException(location.Pack.Key, expected, "bytes that do not open as it");
    }
}
