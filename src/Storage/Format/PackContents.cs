// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Storage;

/// <summary>One line of a pack's contents.</summary>
internal readonly record struct PackEntry(
    BlobId Id, uint Offset, uint Length, uint PlainLength, BlobKind Kind, BlobCompression Compression);

/// <summary>A pack's contents and footer (docs/format.md section 7).</summary>
internal static class PackContents
{
    public const int EntrySize = 48;
    public const int FooterSize = 64;

    public static byte[] Write(IReadOnlyList<PackEntry> entries)
    {
        var bytes = new byte[4 + entries.Count * EntrySize];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, (uint)entries.Count);
        for (var i = 0; i < entries.Count; i++)
        {
            var target = bytes.AsSpan(4 + i * EntrySize, EntrySize);
            var entry = entries[i];
            BlobId.AsSpan(entry.Id).CopyTo(target);
            BinaryPrimitives.WriteUInt32LittleEndian(target[32..], entry.Offset);
            BinaryPrimitives.WriteUInt32LittleEndian(target[36..], entry.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(target[40..], entry.PlainLength);
            target[44] = (byte)entry.Kind;
            target[45] = (byte)entry.Compression;
        }

        return bytes;
    }

    /// <summary>The entries, or null when the bytes are no contents.</summary>
    public static PackEntry[]? TryRead(ReadOnlySpan<byte> source)
    {
        if (source.Length < 4 || (source.Length - 4) % EntrySize != 0
            || BinaryPrimitives.ReadUInt32LittleEndian(source) != (uint)((source.Length - 4) / EntrySize))
            return null;
        var entries = new PackEntry[(source.Length - 4) / EntrySize];
        for (var i = 0; i < entries.Length; i++)
        {
            var line = source.Slice(4 + i * EntrySize, EntrySize);
            entries[i] = new PackEntry(
                BlobId.From(line),
                BinaryPrimitives.ReadUInt32LittleEndian(line[32..]),
                BinaryPrimitives.ReadUInt32LittleEndian(line[36..]),
                BinaryPrimitives.ReadUInt32LittleEndian(line[40..]),
                (BlobKind)line[44],
                (BlobCompression)line[45]);
        }

        return entries;
    }

    public static void WriteFooter(Span<byte> target, uint offset, uint length, in BlobId id)
    {
        target[..FooterSize].Clear();
        "TDMPACK1"u8.CopyTo(target);
        BinaryPrimitives.WriteUInt16LittleEndian(target[8..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(target[12..], offset);
        BinaryPrimitives.WriteUInt32LittleEndian(target[16..], length);
        BlobId.AsSpan(in id).CopyTo(target[20..]);
    }

    /// <summary>Where the contents of a pack of <paramref name="packSize"/> bytes lie; null when this is no footer.</summary>
    public static (uint Offset, uint Length, BlobId Id)? TryReadFooter(ReadOnlySpan<byte> footer, long packSize)
    {
        if (footer.Length != FooterSize || !footer.StartsWith("TDMPACK1"u8) || BinaryPrimitives.ReadUInt16LittleEndian(footer[8..]) != 1)
            return null;
        var offset = BinaryPrimitives.ReadUInt32LittleEndian(footer[12..]);
        var length = BinaryPrimitives.ReadUInt32LittleEndian(footer[16..]);
        return offset + (long)length + FooterSize == packSize && length <= StorageLimits.MaxBlob
            ? (offset, length, BlobId.From(footer[20..]))
            : null;
    }
}
