// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Storage;

/// <summary>Where a blob lies, by its pack's number in a table.</summary>
internal readonly record struct IndexEntry(
    BlobId Id, uint Pack, uint Offset, uint Length, uint PlainLength, BlobKind Kind, BlobCompression Compression);

/// <summary>A pack a segment names.</summary>
internal readonly record struct IndexedPack(PackName Name, uint Size);

/// <summary>A segment's plain bytes (docs/format.md section 8), read in place.</summary>
internal sealed class IndexSegment
{
    private const int HeaderSize = 16;
    private const int PackSize = 64;
    private const int EntrySize = 48;
    private readonly byte[] _bytes;

    private IndexSegment(byte[] bytes, IndexedPack[] packs, int count)
    {
        _bytes = bytes;
        Packs = packs;
        Count = count;
    }

    public IReadOnlyList<IndexedPack> Packs { get; }

    public int Count { get; }

    public IndexEntry this[int index]
    {
        get
        {
            var line = _bytes.AsSpan(HeaderSize + Packs.Count * PackSize + index * EntrySize, EntrySize);
            var plain = BinaryPrimitives.ReadUInt16LittleEndian(line[44..]) | (uint)line[46] << 16;
            return new IndexEntry(
                BlobId.From(line),
                BinaryPrimitives.ReadUInt32LittleEndian(line[32..]),
                BinaryPrimitives.ReadUInt32LittleEndian(line[36..]),
                BinaryPrimitives.ReadUInt32LittleEndian(line[40..]),
                plain,
                (BlobKind)(line[47] & 15),
                (BlobCompression)(line[47] >> 4));
        }
    }

    /// <summary>The bytes of a segment; the entries are sorted here, their pack numbers point into <paramref name="packs"/>.</summary>
    public static byte[] Write(IReadOnlyList<IndexedPack> packs, List<IndexEntry> entries)
    {
        entries.Sort((left, right) => BlobId.AsSpan(left.Id).SequenceCompareTo(BlobId.AsSpan(right.Id)));
        var bytes = new byte[HeaderSize + packs.Count * PackSize + entries.Count * EntrySize];
        "TDMIDX01"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), (uint)packs.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(12), (uint)entries.Count);
        var at = HeaderSize;
        foreach (var pack in packs)
        {
            pack.Name.Write(bytes.AsSpan(at));
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at + PackName.Size), pack.Size);
            bytes[at + PackName.Size + 4] = (byte)(pack.Name.IsData ? 'd' : 'm');
            at += PackSize;
        }

        foreach (var entry in entries)
        {
            var line = bytes.AsSpan(at, EntrySize);
            BlobId.AsSpan(entry.Id).CopyTo(line);
            BinaryPrimitives.WriteUInt32LittleEndian(line[32..], entry.Pack);
            BinaryPrimitives.WriteUInt32LittleEndian(line[36..], entry.Offset);
            BinaryPrimitives.WriteUInt32LittleEndian(line[40..], entry.Length);
            BinaryPrimitives.WriteUInt16LittleEndian(line[44..], (ushort)entry.PlainLength);
            line[46] = (byte)(entry.PlainLength >> 16);
            line[47] = (byte)((int)entry.Kind | (int)entry.Compression << 4);
            at += EntrySize;
        }

        return bytes;
    }

    /// <exception cref="RepositoryDamagedException">The bytes are no segment.</exception>
    public static IndexSegment Read(string key, byte[] bytes)
    {
        if (bytes.Length < HeaderSize || !bytes.AsSpan().StartsWith("TDMIDX01"u8))
            throw new RepositoryDamagedException(key, "an index segment", $"{bytes.Length} other bytes");
        var packCount = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8));
        var count = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(12));
        var expected = HeaderSize + (long)packCount * PackSize + (long)count * EntrySize;
        if (expected != bytes.Length)
            throw new RepositoryDamagedException(key, $"{expected} bytes", $"{bytes.Length}");
        var packs = new IndexedPack[packCount];
        for (var i = 0; i < packs.Length; i++)
        {
            var line = bytes.AsSpan(HeaderSize + i * PackSize, PackSize);
            var size = BinaryPrimitives.ReadUInt32LittleEndian(line[PackName.Size..]);
            packs[i] = new IndexedPack(PackName.Read(line, isData: line[PackName.Size + 4] == (byte)'d'), size);
        }

        return new IndexSegment(bytes, packs, (int)count);
    }
}
