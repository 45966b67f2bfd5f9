// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// Seals and opens bytes under a key used for nothing else (docs/format.md section 4): AES-256-GCM, or, without encryption, a
/// checksum under a public key with the body left as it is.
/// </summary>
internal static class Seal
{
    public const int NonceSize = 12;
    public const int TagSize = 16;

    public static void Close(
        bool encrypted, ReadOnlySpan<byte> key, ReadOnlySpan<byte> aad, ReadOnlySpan<byte> plain, Span<byte> nonce, Span<byte> body,
        Span<byte> tag)
    {
        if (!encrypted)
        {
            nonce.Clear();
            plain.CopyTo(body);
            Checksum(key, aad, body, tag);
            return;
        }

        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(key, TagSize);
        aes.Encrypt(nonce, plain, body, tag, aad);
    }

    /// <summary>False when the bytes are not what was sealed; then <paramref name="plain"/> is undefined.</summary>
    public static bool TryOpen(
        bool encrypted, ReadOnlySpan<byte> key, ReadOnlySpan<byte> aad, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body,
        ReadOnlySpan<byte> tag, Span<byte> plain)
    {
        if (!encrypted)
        {
            Span<byte> actual = stackalloc byte[TagSize];
            Checksum(key, aad, body, actual);
            body.CopyTo(plain);
            return actual.SequenceEqual(tag) && nonce.IndexOfAnyExcept((byte)0) < 0;
        }

        using var aes = new AesGcm(key, TagSize);
        try
        {
            aes.Decrypt(nonce, body, tag, plain, aad);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }

    private static void Checksum(ReadOnlySpan<byte> key, ReadOnlySpan<byte> aad, ReadOnlySpan<byte> body, Span<byte> tag)
    {
        using var hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, key);
        hash.AppendData(aad);
        hash.AppendData(body);
        Span<byte> full = stackalloc byte[BlobId.Size];
        hash.GetHashAndReset(full);
        full[..TagSize].CopyTo(tag);
    }
}
