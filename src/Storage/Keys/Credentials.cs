// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>What opens an encrypted repository: a password, the 32 bytes of a key file, or a recovery
/// sheet; or nothing, for one without encryption.</summary>
public sealed class Credentials
{
    private Credentials(string? password, byte[]? keyFile, (Guid Repository, byte[] Master)? sheet)
    {
        Password = password;
        KeyFile = keyFile;
        Sheet = sheet;
    }

    /// <summary>For a repository without encryption.</summary>
    public static Credentials None { get; } = new(null, null, null);

    internal string? Password { get; }

    internal byte[]? KeyFile { get; }

    /// <summary>The master itself, from a recovery sheet.</summary>
    internal (Guid Repository, byte[] Master)? Sheet { get; }

    /// <exception cref="ArgumentException">The password is empty.</exception>
    public static Credentials FromPassword(string password)
    {
        ArgumentException.ThrowIfNullOrEmpty(password);
        return new Credentials(password, null, null);
    }

    /// <summary>From the text of a key file or of a recovery sheet.</summary>
    /// <exception cref="WrongKeyException">The text is neither.</exception>
    public static Credentials FromKeyFile(string content) => RecoverySheet.TryRead(content) is { } sheet
        ? new Credentials(null, null, sheet)
        : new Credentials(null, Storage.KeyFile.Parse(content), null);
}

/// <summary>The text of a key file: one line, "tidemark-key-1 " and 64 hex digits.</summary>
public static class KeyFile
{
    private const string Prefix = "tidemark-key-1 ";

    /// <summary>A new random key as text; whoever writes it to a file sets mode 0600.</summary>
    public static string Generate() => Prefix + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(RepositoryKeys.KeySize)) + "\n";

    internal static byte[] Parse(string content)
    {
        var line = content.Trim();
        if (!line.StartsWith(Prefix, StringComparison.Ordinal) || line.Length != Prefix.Length + 2 * RepositoryKeys.KeySize)
            throw new WrongKeyException("The key file is not one line of 'tidemark-key-1' and 64 hex digits.");
        try
        {
            return Convert.FromHexString(line.AsSpan(Prefix.Length));
        }
        catch (FormatException)
        {
            throw new WrongKeyException("The key file holds something other than 64 hex digits after 'tidemark-key-1'.");
        }
    }
}
