// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// Takes whole packs of chunks over from a twin (docs/format.md section 9, copy): the same bytes under the copying run's name. One by
/// another writer only after each of its blobs was opened (I10), since here they become this writer's. Memory: one pack.
/// </summary>
internal sealed class PackCopier(RepositoryContext source, BackupRun target)
{
    private const int MaxPack = 96 << 20; // a pack as written, and one blob
    private readonly DataKeys _keys = new(source.Keys, []);

    /// <summary>Bytes of packs taken over.</summary>
    public long Bytes { get; private set; }

    public int Packs { get; private set; }

    /// <summary>Takes a pack over; false when it is not what its name says, or not fit: its chunks are then read one by one.</summary>
    public async Task<bool> TryCopyAsync(PackName pack, CancellationToken cancellationToken)
    {
        if (await source.Store.HeadAsync(pack.Key, cancellationToken) is not { Size: > PackContents.FooterSize and <= MaxPack } info)
            return false;
        var rented = ArrayPool<byte>.Shared.Rent((int)info.Size);
        try
        {
            var bytes = rented.AsMemory(0, (int)info.Size);
            if (await source.Store.ReadAsync(pack.Key, 0, bytes, cancellationToken) != bytes.Length
                || BlobId.From(SHA256.HashData(bytes.Span)) != pack.Hash
                || Contents(bytes.Span) is not { } entries || !AreSound(pack, entries, bytes.Span))
                return false;
            await target.AdoptAsync(pack.Hash, bytes, entries, cancellationToken);
            Bytes += bytes.Length;
            Packs++;
            return true;
        }
        catch (ObjectMissingException)
        {
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private PackEntry[]? Contents(ReadOnlySpan<byte> pack)
    {
        if (PackContents.TryReadFooter(pack[^PackContents.FooterSize..], pack.Length) is not { } footer)
            return null;
        var plain = new byte[footer.Length];
        var scratch = new byte[footer.Length];
        using var codec = source.Codecs.Rent();
        var blob = pack.Slice((int)footer.Offset, (int)footer.Length);
        var length = BlobSealer.TryOpen(source.Keys, codec.Codec, BlobKind.Contents, footer.Id, blob, scratch, plain);
        return length < 0 ? null : PackContents.TryRead(plain.AsSpan(0, length));
    }

    private bool AreSound(PackName pack, PackEntry[] entries, ReadOnlySpan<byte> bytes)
    {
        if (entries.Length > StorageLimits.PackMaxBlobs)
            return false;
        foreach (var entry in entries)
        {
            if (entry.Kind != BlobKind.Chunk || entry.Length < BlobSealer.Overhead || entry.Offset + (long)entry.Length > bytes.Length)
                return false;
            if (pack.Writer == target.Writer)
                continue;
            var blob = new IndexEntry(entry.Id, 0, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression);
            if (!BlobProbe.Opens(source, _keys, blob, bytes.Slice((int)entry.Offset, (int)entry.Length)))
                return false;
        }

        return true;
    }
}
