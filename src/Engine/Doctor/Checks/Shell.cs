// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Doctor.Checks;

/// <summary>Words of a shell command.</summary>
internal static class Shell
{
    /// <summary>The word as the shell takes it, in quotes only where it needs them.</summary>
    public static string Quote(string word) =>
        word.Length > 0 && word.All(letter => char.IsAsciiLetterOrDigit(letter) || "/._-+:@%".Contains(letter, StringComparison.Ordinal))
            ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
