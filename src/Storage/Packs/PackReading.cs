// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>A pack as a listing shows it.</summary>
internal readonly record struct ListedPack(PackName Name, long Size)
{
    /// <summary>Null for what is no pack.</summary>
    public static ListedPack? TryParse(ObjectInfo info) =>
        PackName.TryParse(info.Key) is { } name && info.Size <= uint.MaxValue ? new ListedPack(name, info.Size) : null;
}

/// <summary>A pack by its own contents: its blobs of one kind.</summary>
internal sealed record DescribedPack(IndexedPack Pack, IReadOnlyList<PackEntry> Entries);

/// <summary>Reads what packs say of themselves, where no index tells.</summary>
internal static class PackReading
{
    private const int TailSize = 64 << 10; // holds the contents of a pack of 1300 blobs; larger ones take a second read
    private const int MaxContents = BlobSealer.Overhead + 4 + StorageLimits.PackMaxBlobs * PackContents.EntrySize;

    /// <summary>What a pack says of itself, blobs of one kind; null when it can't be read so.</summary>
    /// <exception cref="StoreException">The store failed.</exception>
    public static async ValueTask<DescribedPack?> TryReadAsync(
        RepositoryContext context, ListedPack pack, BlobKind kind, CancellationToken cancellationToken)
    {
        var (name, size) = pack;
        try
        {
            var tail = await ReadEndAsync(context.Store, name, size, TailSize, cancellationToken);
            if (tail.Length < PackContents.FooterSize
                || PackContents.TryReadFooter(tail.AsSpan(^PackContents.FooterSize..), size) is not { Length: <= MaxContents } footer)
                return null;
            var length = (int)footer.Length + PackContents.FooterSize;
            if (length > tail.Length)
                tail = await ReadEndAsync(context.Store, name, size, length, cancellationToken);
            if (tail.Length < length || Open(context, footer.Id, tail.AsSpan(tail.Length - length, (int)footer.Length)) is not { } entries)
                return null;
            PackEntry[] blobs = [.. entries.Where(entry => entry.Kind == kind)];
            return blobs.All(entry => entry.Offset + (long)entry.Length <= footer.Offset
                    && entry.Length is >= BlobSealer.Overhead and <= StorageLimits.MaxBlob)
                ? new DescribedPack(new IndexedPack(name, (uint)size), blobs)
                : null;
        }
        catch (ObjectMissingException)
        {
            return null; // deleted since it was listed
        }
    }

    private static async ValueTask<byte[]> ReadEndAsync(
        IObjectStore store, PackName name, long size, int wanted, CancellationToken cancellationToken)
    {
        var end = new byte[Math.Min(size, wanted)];
        var read = await store.ReadAsync(name.Key, size - end.Length, end, cancellationToken);
        return read == end.Length ? end : [];
    }

    private static PackEntry[]? Open(RepositoryContext context, in BlobId id, ReadOnlySpan<byte> blob)
    {
        var scratch = ArrayPool<byte>.Shared.Rent(Math.Max(1, blob.Length));
        var plain = ArrayPool<byte>.Shared.Rent(Math.Max(1, blob.Length));
        try
        {
            using var codec = context.Codecs.Rent();
            var length = BlobSealer.TryOpen(context.Keys, codec.Codec, BlobKind.Contents, in id, blob, scratch, plain);
            return length >= 0 && context.Keys.NodeId(plain.AsSpan(0, length)) == id
                ? PackContents.TryRead(plain.AsSpan(0, length))
                : null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
            ArrayPool<byte>.Shared.Return(plain);
        }
    }
}
