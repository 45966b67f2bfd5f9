// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>Opens blobs only to learn whether they are what an index says (I7). Chunks need their data key.</summary>
internal static class BlobProbe
{
    /// <summary>Whether the blob of an entry opens and has its id; false also when the pack is gone or ends before.</summary>
    /// <exception cref="StoreException">The store failed: nothing is known then.</exception>
    public static async ValueTask<bool> OpensAsync(
        RepositoryContext context, DataKeys keys, string pack, IndexEntry entry, CancellationToken cancellationToken)
    {
        var blob = ArrayPool<byte>.Shared.Rent((int)entry.Length);
        try
        {
            var target = blob.AsMemory(0, (int)entry.Length);
            return await context.Store.ReadAsync(pack, entry.Offset, target, cancellationToken) == target.Length
                && Opens(context, keys, entry, target.Span);
        }
        catch (ObjectMissingException)
        {
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(blob);
        }
    }

    /// <summary>The same, or null when the store fails for good to read the pack, which is told: nothing is known then.</summary>
    public static async ValueTask<bool?> TryOpensAsync(
        RepositoryContext context, DataKeys keys, string pack, IndexEntry entry, Action<string, StoreException> unread,
        CancellationToken cancellationToken)
    {
        try
        {
            return await OpensAsync(context, keys, pack, entry, cancellationToken);
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            unread(pack, failure);
            return null;
        }
    }

    /// <summary>Whether bytes are the blob of an entry.</summary>
    public static bool Opens(RepositoryContext context, DataKeys keys, IndexEntry entry, ReadOnlySpan<byte> blob)
    {
        if (entry.PlainLength > StorageLimits.MaxBlob || entry.Kind is not (BlobKind.Chunk or BlobKind.Node))
            return false;
        var plain = ArrayPool<byte>.Shared.Rent((int)entry.PlainLength);
        var scratch = ArrayPool<byte>.Shared.Rent(blob.Length);
        try
        {
            var content = plain.AsSpan(0, (int)entry.PlainLength);
            using var codec = context.Codecs.Rent();
            if (entry.Kind == BlobKind.Chunk)
                return keys.TryOpen(codec.Codec, entry.Id, blob, scratch, content);
            return BlobSealer.TryOpen(context.Keys, codec.Codec, entry.Kind, entry.Id, blob, scratch, content) == content.Length
                && IsNode(context, entry.Id, content);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
            ArrayPool<byte>.Shared.Return(plain);
        }
    }

    private static bool IsNode(RepositoryContext context, in BlobId id, ReadOnlySpan<byte> plain) =>
        plain.Length > 2 && TreeNode.TryRead(plain, plain[1], plain[2], null, out var identity) is not null
        && context.Keys.NodeId(plain[..identity]) == id;
}
