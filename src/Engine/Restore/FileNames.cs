// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Engine.Restore;

/// <summary>Names from a restore point as parts of file names: whatever a machine is called, it stays within its folder.</summary>
internal static class FileNames
{
    private const int Longest = 100;

    /// <summary>Letters, digits, '_', '-' and inner dots stay; every other character becomes '_'.</summary>
    public static string Safe(string name)
    {
        var safe = new StringBuilder();
        foreach (var rune in name.EnumerateRunes())
        {
            if (safe.Length >= Longest)
                break;
            var keep = Rune.IsLetterOrDigit(rune) && rune.IsAscii || rune.Value is '_' or '-' || (rune.Value == '.' && safe.Length > 0);
            safe.Append(keep ? (char)rune.Value : '_');
        }

        return safe.Length == 0 ? "_" : safe.ToString();
    }
}
