// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

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

    /// <summary>Of role domain: which.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Domain { get; init; }

    public string Label { get; init; } = "";

    public DateTimeOffset Created { get; init; }

    public string Nonce { get; init; } = "";

    public string Wrapped { get; init; } = "";
}

/// <summary>Wraps and unwraps what a slot gives.</summary>
internal static class KeySlot
{
    public const int MinIterations = 1_000_000;
    private const int MaxIterations = 100_000_000;
    private const string PasswordKdf = "pbkdf2-sha256";
    private const string KeyFileKdf = "keyfile";

    /// <summary>The role as the slot names it, or null for one this program does not know.</summary>
    public static KeyRole? RoleOf(KeySlotDocument slot) => slot.Role switch
    {
        "full" => KeyRole.Full,
        "maintenance" => KeyRole.Maintenance,
        "domain" when slot.Domain is { } domain && KeyDomain.IsValid(domain) => KeyRole.Domain,
        _ => null,
    };

    public static string NameOf(KeyRole role) => role switch
    {
        KeyRole.Full => "full",
        KeyRole.Maintenance => "maintenance",
        _ => "domain",
    };

    /// <summary>How the secret of a slot is made from what people have.</summary>
    public static string Describe(KeySlotDocument slot) => slot.Kdf switch
    {
        KeyFileKdf => "key file",
        PasswordKdf => string.Create(CultureInfo.InvariantCulture, $"password, {slot.Iterations} rounds"),
        _ => slot.Kdf,
    };

    public static byte[] Create(
        SlotSecret secret, string slot, Guid repository, Credentials credentials, string label, int iterations, DateTimeOffset now)
    {
        var salt = RandomNumberGenerator.GetBytes(RepositoryKeys.KeySize);
        var nonce = RandomNumberGenerator.GetBytes(Seal.NonceSize);
        var plain = secret.Bytes;
        var wrapped = new byte[plain.Length + Seal.TagSize];
        var role = NameOf(secret.Role);
        var domain = secret.Role == KeyRole.Domain ? secret.Domain : null;
        using var aes = new AesGcm(KeyEncryptionKey(credentials, salt, iterations), Seal.TagSize);
        aes.Encrypt(nonce, plain, wrapped.AsSpan(0, plain.Length), wrapped.AsSpan(plain.Length), Aad(repository, slot, role, domain));
        var document = new KeySlotDocument
        {
            V = 1,
            Repository = repository.ToString("N"),
            Kdf = credentials.Password is null ? KeyFileKdf : PasswordKdf,
            Iterations = credentials.Password is null ? 0 : iterations,
            Salt = Convert.ToHexStringLower(salt),
            Role = role,
            Domain = domain,
            Label = label,
            Created = now,
            Nonce = Convert.ToHexStringLower(nonce),
            Wrapped = Convert.ToHexStringLower(wrapped),
        };
        return JsonSerializer.SerializeToUtf8Bytes(document, FormatJson.Default.KeySlotDocument);
    }

    /// <summary>What the slot gives, or null when it is of another kind, repository or secret.</summary>
    public static SlotSecret? TryOpen(KeySlotDocument slot, string name, Guid repository, Credentials credentials)
    {
        var kdf = credentials.Password is null ? KeyFileKdf : PasswordKdf;
        if (slot.V != 1 || RoleOf(slot) is not { } role || slot.Kdf != kdf || slot.Repository != repository.ToString("N")
            || slot.Iterations > MaxIterations || (kdf == PasswordKdf && slot.Iterations < 1))
            return null;
        try
        {
            var wrapped = Convert.FromHexString(slot.Wrapped);
            var secret = new byte[SlotSecret.SizeOf(role)];
            if (wrapped.Length != secret.Length + Seal.TagSize)
                return null;
            using var aes = new AesGcm(KeyEncryptionKey(credentials, Convert.FromHexString(slot.Salt), slot.Iterations), Seal.TagSize);
            var body = wrapped.AsSpan(0, secret.Length);
            var domain = role == KeyRole.Domain ? slot.Domain : null;
            var aad = Aad(repository, name, slot.Role, domain);
            aes.Decrypt(Convert.FromHexString(slot.Nonce), body, wrapped.AsSpan(secret.Length), secret, aad);
            return new SlotSecret(role, secret, domain ?? "");
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

    private static byte[] Aad(Guid repository, string slot, string role, string? domain)
    {
        var bound = slot + role + (domain is null ? "" : "/" + domain);
        return [.. "tdm1/slot"u8, .. repository.ToByteArray(bigEndian: true), .. Encoding.UTF8.GetBytes(bound)];
    }
}
