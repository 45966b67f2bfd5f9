// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Which texts are keys: see <see cref="IObjectStore"/>. Checked once, at the store's edge.</summary>
public static class ObjectKey
{
    private const int MaxLength = 512;

    public static bool IsValid(string key)
    {
        if (key.Length is 0 or > MaxLength)
            return false;
        foreach (var letter in key)
        {
            if (!char.IsAsciiLetterOrDigit(letter) && letter is not ('.' or '_' or '%' or '/' or '-'))
                return false;
        }

        foreach (var part in key.AsSpan().Split('/'))
        {
            if (key.AsSpan()[part] is "" or "." or "..")
                return false;
        }

        return true;
    }

    /// <exception cref="ArgumentException">Not a key.</exception>
    public static void Check(string key)
    {
        if (!IsValid(key))
            throw new ArgumentException($"'{key}' is not an object key.", nameof(key));
    }
}
