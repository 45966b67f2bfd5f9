// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>A key slot as it is stored (docs/format.md section 6).</summary>
internal sealed record KeySlotDocument
{
    public int V { get; init; }

    public string Repository { get; init; } = "";

    public string Kdf { get; init; } = "";

    public int Iterations { get; init; }

    public string Salt { get; init; } = "";

    public string Role { get; init; } = "";

    public string Label { get; init; } = "";

    public DateTimeOffset Created { get; init; }

    public string Nonce { get; init; } = "";

    public string Wrapped { get; init; } = "";
}

/// <summary>Wraps and unwraps the master key.</summary>
internal static class KeySlot
{
    public const int MinIterations = 1_000_000;
    private const int MaxIterations = 100_000_000;
    private const string PasswordKdf = "pbkdf2-sha256";
    private const string KeyFileKdf = "keyfile";

    public static byte[] Create(
        ReadOnlySpan<byte> master, string slot, Guid repository, Credentials credentials, string label, int iterations, DateTimeOffset now)
    {
        var salt = RandomNumberGenerator.GetBytes(RepositoryKeys.KeySize);
        var nonce = RandomNumberGenerator.GetBytes(Seal.NonceSize);
        var wrapped = new byte[master.Length + Seal.TagSize];
        using var aes = new AesGcm(KeyEncryptionKey(credentials, salt, iterations), Seal.TagSize);
        aes.Encrypt(nonce, master, wrapped.AsSpan(0, master.Length), wrapped.AsSpan(master.Length), Aad(repository, slot, "full"));
        var document = new KeySlotDocument
        {
            V = 1,
            Repository = repository.ToString("N"),
            Kdf = credentials.Password is null ? KeyFileKdf : PasswordKdf,
            Iterations = credentials.Password is null ? 0 : iterations,
            Salt = Convert.ToHexStringLower(salt),
            Role = "full",
            Label = label,
            Created = now,
            Nonce = Convert.ToHexStringLower(nonce),
            Wrapped = Convert.ToHexStringLower(wrapped),
        };
        return JsonSerializer.SerializeToUtf8Bytes(document, FormatJson.Default.KeySlotDocument);
    }

    /// <summary>The master key, or null when this slot is of another kind, repository or secret.</summary>
    public static byte[]? TryOpen(KeySlotDocument slot, string name, Guid repository, Credentials credentials)
    {
        var kdf = credentials.Password is null ? KeyFileKdf : PasswordKdf;
        if (slot.V != 1 || slot.Role != "full" || slot.Kdf != kdf || slot.Repository != repository.ToString("N")
            || slot.Iterations > MaxIterations || (kdf == PasswordKdf && slot.Iterations < 1))
            return null;
        try
        {
            var wrapped = Convert.FromHexString(slot.Wrapped);
            var master = new byte[RepositoryKeys.KeySize];
            if (wrapped.Length != master.Length + Seal.TagSize)
                return null;
            using var aes = new AesGcm(KeyEncryptionKey(credentials, Convert.FromHexString(slot.Salt), slot.Iterations), Seal.TagSize);
            var aad = Aad(repository, name, slot.Role);
            aes.Decrypt(Convert.FromHexString(slot.Nonce), wrapped.AsSpan(0, master.Length), wrapped.AsSpan(master.Length), master, aad);
            return master;
        }
        catch (Exception failure) when (failure is FormatException or CryptographicException or ArgumentException)
        {
            return null; // damaged, or sealed with another secret: the other slots are tried
        }
    }

    private static byte[] KeyEncryptionKey(Credentials credentials, byte[] salt, int iterations)
    {
        var secret = credentials.KeyFile
            ?? Rfc2898DeriveBytes.Pbkdf2(credentials.Password!, salt, iterations, HashAlgorithmName.SHA256, RepositoryKeys.KeySize);
        return HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, RepositoryKeys.KeySize, salt, "tdm1/slot"u8.ToArray());
    }

    private static byte[] Aad(Guid repository, string slot, string role) =>
        [.. "tdm1/slot"u8, .. repository.ToByteArray(bigEndian: true), .. Encoding.UTF8.GetBytes(slot + role)];
}
