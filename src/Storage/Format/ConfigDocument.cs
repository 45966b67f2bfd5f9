// SPDX-License-Identifier: Apache-2.0
using System.Text;
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>The first line of the object "config" (docs/format.md section 5).</summary>
internal sealed record ConfigDocument
{
    public int Format { get; init; }

    public string Id { get; init; } = "";

    public DateTimeOffset Created { get; init; }

    public string Encryption { get; init; } = "";

    public string? PublicMaster { get; init; }

    public FeatureSets Features { get; init; } = new();

    /// <summary>The one writer where the store has no atomic create (docs/format.md section 10a); else null.</summary>
    public string? SingleWriter { get; init; }
}

/// <summary>Names a program must know before it does that kind of thing in a repository.</summary>
internal sealed record FeatureSets
{
    public IReadOnlyList<string> Read { get; init; } = [];

    public IReadOnlyList<string> Write { get; init; } = [];

    public IReadOnlyList<string> Collect { get; init; } = [];
}

/// <summary>The bytes of "config": a line of JSON and a line with its MAC.</summary>
internal static class ConfigFile
{
    public const int CurrentFormat = 1;
    public const string Aes = "aes-256-gcm";
    public const string NoEncryption = "none";
    public const string SingleWriter = "single-writer";
    private const int MacHex = 64;

    public static byte[] Write(ConfigDocument config, RepositoryKeys keys)
    {
        var line = JsonSerializer.SerializeToUtf8Bytes(config, FormatJson.Default.ConfigDocument);
        Span<byte> mac = stackalloc byte[RepositoryKeys.KeySize];
        keys.ConfigMac(line, mac);
        return [.. line, (byte)'\n', .. Encoding.ASCII.GetBytes(Convert.ToHexStringLower(mac)), (byte)'\n'];
    }

    /// <exception cref="FormatTooNewException">Another format, or a feature needed for reading that this program does not know.</exception>
    /// <exception cref="RepositoryDamagedException">Not a config.</exception>
    public static ConfigDocument Read(ReadOnlySpan<byte> content)
    {
        var end = content.IndexOf((byte)'\n');
        ConfigDocument? config;
        try
        {
            config = end < 0 ? null : FormatJson.Read(content[..end], FormatJson.Default.ConfigDocument);
        }
        catch (JsonException failure)
        {
            throw new RepositoryDamagedException(ObjectNames.Config, "a line of JSON", "something else", failure);
        }

        if (config is null || config.Format < 1)
            throw new RepositoryDamagedException(ObjectNames.Config, "a line of JSON with a format number", "something else");
        if (config.Format > CurrentFormat)
            throw new FormatTooNewException($"The repository has format {config.Format}; this program knows up to {CurrentFormat}.");
        if (config.Features.Read.Count > 0)
            throw new FormatTooNewException(
                $"The repository needs feature '{config.Features.Read[0]}' for reading, which this program does not know.");
        if (!Guid.TryParseExact(config.Id, "N", out _) || config.Encryption is not (Aes or NoEncryption))
            throw new RepositoryDamagedException(
                ObjectNames.Config, "a repository id and a known encryption", $"'{config.Id}', '{config.Encryption}'");
        return config;
    }

    /// <exception cref="RepositoryDamagedException">The MAC is not that of the line.</exception>
    public static void CheckMac(ReadOnlySpan<byte> content, RepositoryKeys keys)
    {
        var end = content.IndexOf((byte)'\n');
        Span<byte> mac = stackalloc byte[RepositoryKeys.KeySize];
        keys.ConfigMac(content[..end], mac);
        var stored = content[(end + 1)..];
        if (stored.Length != MacHex + 1 || !stored[..MacHex].SequenceEqual(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(mac))))
            throw new RepositoryDamagedException(ObjectNames.Config, "the MAC of its first line", "another one");
    }
}
