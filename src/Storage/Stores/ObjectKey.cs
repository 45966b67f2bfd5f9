// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>Which texts are keys: see <see cref="IObjectStore"/>. Checked once, at the store's edge.</summary>
public static class ObjectKey
{
    private const int MaxLength = 512;

    private static readonly SearchValues<char> Allowed =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%/-");

    public static bool IsValid(string key)
    {
        if (key.Length is 0 or > MaxLength || key.AsSpan().ContainsAnyExcept(Allowed))
            return false;
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
