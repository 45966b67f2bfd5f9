// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// A repository's master as text for paper (docs/format.md section 6). Whoever has it can open the repository without any slot.
/// </summary>
public static class RecoverySheet
{
    private const string Prefix = "tidemark-master-1";
    private const int CheckSize = 4;

    /// <summary>The text to print.</summary>
    internal static string Write(Guid repository, byte[] master, string store, DateTimeOffset now)
    {
        var line = $"{Prefix} {repository:N} {Convert.ToHexStringLower(master)} {Convert.ToHexStringLower(Check(repository, master))}";
        return $"""
            Tidemark recovery sheet of {now:yyyy-MM-dd}, repository {repository:N}
            at {store}
            Whoever has the line below can read every backup in it. To use it, put the line into a file and give that as --key-file.

            {line}

            """;
    }

    /// <summary>The repository and its master, or null when no line is one of a recovery sheet.</summary>
    /// <exception cref="WrongKeyException">There is such a line, with a typing error.</exception>
    internal static (Guid Repository, byte[] Master)? TryRead(string content)
    {
        var line = content.Split('\n').Select(text => text.Trim())
            .FirstOrDefault(text => text.StartsWith(Prefix + " ", StringComparison.Ordinal));
        if (line is null)
            return null;
        var parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        try
        {
            if (parts.Length == 4 && Guid.TryParseExact(parts[1], "N", out var repository)
                && Convert.FromHexString(parts[2]) is { Length: RepositoryKeys.KeySize } master
                && Check(repository, master).AsSpan().SequenceEqual(Convert.FromHexString(parts[3])))
                return (repository, master);
        }
        catch (FormatException)
        {
            throw new WrongKeyException("The recovery sheet's line holds something other than hex digits; compare it with the paper.");
        }

        throw new WrongKeyException("The recovery sheet's line does not fit its check digits; compare it with the paper.");
    }

    private static byte[] Check(Guid repository, byte[] master) =>
        SHA256.HashData([.. "tidemark-master-1"u8, .. repository.ToByteArray(bigEndian: true), .. master])[..CheckSize];
}
