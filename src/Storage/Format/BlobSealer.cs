// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Storage;

/// <summary>What a blob holds.</summary>
internal enum BlobKind : byte
{
    Chunk = 1,
    Node = 2,
    Contents = 0xF0,
}

/// <summary>How a blob's body is kept.</summary>
internal enum BlobCompression : byte
{
    None = 0,
    Zstd = 1,
}

/// <summary>
/// A blob's bytes (docs/format.md section 7): nonce 12 | kind u8 | comp u8 | 0 u16 | plainLen u32 | body | tag 16.
/// </summary>
internal static class BlobSealer
{
    public const int HeaderSize = 8;
    public const int BodyOffset = Seal.NonceSize + HeaderSize;
    public const int Overhead = BodyOffset + Seal.TagSize;
    private const int AadSize = 4 + HeaderSize + BlobId.Size;

    /// <summary>
    /// Seals <paramref name="stored"/> into <paramref name="target"/>, which is exactly <see cref="Overhead"/> longer. It may lie there
    /// already, at <see cref="BodyOffset"/>.
    /// </summary>
    public static void Close(
        RepositoryKeys keys, BlobKind kind, in BlobId id, BlobCompression compression, int plainLength, ReadOnlySpan<byte> stored,
        Span<byte> target)
    {
        var header = target.Slice(Seal.NonceSize, HeaderSize);
        header[0] = (byte)kind;
        header[1] = (byte)compression;
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], (uint)plainLength);
        Span<byte> aad = stackalloc byte[AadSize];
        WriteAad(aad, header, in id);
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        keys.BlobKey(kind, in id, key);
        Seal.Close(
            keys.IsEncrypted, key, aad, stored, target[..Seal.NonceSize], target.Slice(BodyOffset, stored.Length),
            target[(BodyOffset + stored.Length)..]);
    }

    /// <summary>
    /// Opens a blob into <paramref name="plain"/> and returns its plain length, or -1 when the bytes are not a blob of this kind and id
    /// or do not fit. <paramref name="scratch"/> must hold the blob's body. The id itself is the caller's to recompute (I7).
    /// </summary>
    public static int TryOpen(
        RepositoryKeys keys, ZstdCodec codec, BlobKind kind, in BlobId id, ReadOnlySpan<byte> blob, Span<byte> scratch, Span<byte> plain)
    {
        if (blob.Length < Overhead)
            return -1;
        var header = blob.Slice(Seal.NonceSize, HeaderSize);
        var plainLength = BinaryPrimitives.ReadUInt32LittleEndian(header[4..]);
        var bodyLength = blob.Length - Overhead;
        if (header[0] != (byte)kind || plainLength > plain.Length || header[1] > (byte)BlobCompression.Zstd)
            return -1;
        var raw = header[1] == (byte)BlobCompression.None;
        if (raw && plainLength != bodyLength)
            return -1;
        Span<byte> aad = stackalloc byte[AadSize];
        WriteAad(aad, header, in id);
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        keys.BlobKey(kind, in id, key);
        var body = raw ? plain[..bodyLength] : scratch[..bodyLength];
        var nonce = blob[..Seal.NonceSize];
        var tag = blob[(BodyOffset + bodyLength)..];
        if (!Seal.TryOpen(keys.IsEncrypted, key, aad, nonce, blob.Slice(BodyOffset, bodyLength), tag, body))
            return -1;
        if (!raw && codec.Decompress(body, plain[..(int)plainLength]) != plainLength)
            return -1;
        return (int)plainLength;
    }

    private static void WriteAad(Span<byte> aad, ReadOnlySpan<byte> header, in BlobId id)
    {
        "tdm1"u8.CopyTo(aad);
        header.CopyTo(aad[4..]);
        BlobId.AsSpan(in id).CopyTo(aad[(4 + HeaderSize)..]);
    }
}
