// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Reading small objects whole.</summary>
internal static class StoreReading
{
    /// <summary>The whole object, or null when there is none.</summary>
    /// <exception cref="RepositoryDamagedException">It is larger than any object of its kind.</exception>
    public static async ValueTask<byte[]?> TryReadAllAsync(
        this IObjectStore store, string key, int limit, CancellationToken cancellationToken)
    {
        var info = await store.HeadAsync(key, cancellationToken);
        return info is null ? null : await store.TryReadAllAsync(info.Value, limit, cancellationToken);
    }

    /// <summary>The whole of an object as listed, or null when it went since.</summary>
    /// <exception cref="RepositoryDamagedException">It is larger than any object of its kind, or shorter than listed.</exception>
    public static async ValueTask<byte[]?> TryReadAllAsync(
        this IObjectStore store, ObjectInfo info, int limit, CancellationToken cancellationToken)
    {
        if (info.Size > limit)
            throw new RepositoryDamagedException(info.Key, $"at most {limit} bytes", $"{info.Size}");
        var content = new byte[info.Size];
        try
        {
            var read = await store.ReadAsync(info.Key, 0, content, cancellationToken);
            return read == content.Length ? content : throw new RepositoryDamagedException(info.Key, $"{info.Size} bytes", $"{read}");
        }
        catch (ObjectMissingException)
        {
            return null;
        }
    }
}
