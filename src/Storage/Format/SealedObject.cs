// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Tidemark.Storage;

/// <summary>
/// Control objects (docs/format.md section 8): "TDMO" | version u8 | comp u8 | 0 u16 | plainLen u32 | nonce 12 | body | tag 16, bound to
/// the repository and the key they lie under.
/// </summary>
internal static class SealedObject
{
    private const int HeaderSize = 12;
    private const int Overhead = HeaderSize + Seal.NonceSize + Seal.TagSize;
    private const int Level = 3;

    /// <summary>Whether bytes say that they are a sealed object of a later version of the format.</summary>
    public static bool IsOfLaterVersion(ReadOnlySpan<byte> content) => content.Length > 4 && content.StartsWith("TDMO"u8) && content[4] > 1;

    public static byte[] Close(RepositoryKeys keys, ZstdCodec codec, string path, ReadOnlySpan<byte> plain)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plain.Length, StorageLimits.MaxSealedObject - Overhead);
        var packed = ArrayPool<byte>.Shared.Rent(Math.Max(1, plain.Length)); // index segments are megabytes
        try
        {
            var length = codec.Compress(plain, packed.AsSpan(0, plain.Length), Level);
            return length > 0 && length < plain.Length
                ? Close(keys, path, plain.Length, BlobCompression.Zstd, packed.AsSpan(0, length))
                : Close(keys, path, plain.Length, BlobCompression.None, plain);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(packed);
        }
    }

    private static byte[] Close(RepositoryKeys keys, string path, int plainLength, BlobCompression how, ReadOnlySpan<byte> stored)
    {
        var sealedBytes = new byte[Overhead + stored.Length];
        "TDMO"u8.CopyTo(sealedBytes);
        sealedBytes[4] = 1;
        sealedBytes[5] = (byte)how;
        BinaryPrimitives.WriteUInt32LittleEndian(sealedBytes.AsSpan(8), (uint)plainLength);
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        keys.ObjectKey(path, key);
        var rest = sealedBytes.AsSpan(HeaderSize);
        var aad = Aad(keys, sealedBytes, path);
        Seal.Close(
            keys.IsEncrypted, key, aad, stored, rest[..Seal.NonceSize], rest.Slice(Seal.NonceSize, stored.Length), rest[^Seal.TagSize..]);
        return sealedBytes;
    }

    /// <exception cref="RepositoryDamagedException">Not what was sealed under this key.</exception>
    public static byte[] Open(RepositoryKeys keys, ZstdCodec codec, string path, ReadOnlySpan<byte> content)
    {
        if (content.Length < Overhead || !content.StartsWith("TDMO"u8) || content[4] != 1 || content[5] > (byte)BlobCompression.Zstd)
            throw new RepositoryDamagedException(path, "a sealed object", $"{content.Length} other bytes");
        var plainLength = BinaryPrimitives.ReadUInt32LittleEndian(content[8..]);
        var stored = content.Length - Overhead;
        var isRaw = content[5] == (byte)BlobCompression.None;
        if (plainLength > StorageLimits.MaxSealedObject || (isRaw && plainLength != stored))
            throw new RepositoryDamagedException(path, "a plain length within the limits", $"{plainLength} bytes");
        if (isRaw)
        {
            var body = new byte[stored];
            OpenBody(keys, path, content, body);
            return body;
        }

        var packed = ArrayPool<byte>.Shared.Rent(Math.Max(1, stored));
        try
        {
            OpenBody(keys, path, content, packed.AsSpan(0, stored));
            var plain = new byte[plainLength];
            return codec.Decompress(packed.AsSpan(0, stored), plain) == plainLength
                ? plain
                : throw new RepositoryDamagedException(path, $"{plainLength} bytes after decompression", "something else");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(packed);
        }
    }

    private static void OpenBody(RepositoryKeys keys, string path, ReadOnlySpan<byte> content, Span<byte> body)
    {
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        keys.ObjectKey(path, key);
        var rest = content[HeaderSize..];
        var aad = Aad(keys, content, path);
        if (!Seal.TryOpen(
            keys.IsEncrypted, key, aad, rest[..Seal.NonceSize], rest.Slice(Seal.NonceSize, body.Length), rest[^Seal.TagSize..], body))
            throw new RepositoryDamagedException(path, "bytes sealed for this key", "other bytes");
    }

    private static byte[] Aad(RepositoryKeys keys, ReadOnlySpan<byte> header, string path) =>
        [.. "tdm1"u8, .. header[..HeaderSize], .. keys.RepositoryBytes, .. Encoding.UTF8.GetBytes(path)];
}
