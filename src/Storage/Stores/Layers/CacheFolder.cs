// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;

namespace Tidemark.Storage;

/// <summary>
/// A folder of named byte strings that may vanish at any time: each file is SHA-256 and bytes, written aside and renamed. Whatever goes
/// wrong with it is a miss. Several processes may share it; each keeps it below its limit when it ends, oldest first.
/// </summary>
public sealed class CacheFolder
{
    /// <summary>Bytes a cache may hold by default: the trees of some 8 TiB of disks.</summary>
    public const long DefaultLimit = 1L << 30;

    private const int HashSize = 32;
    private readonly string _root;
    private readonly long _limit;
    private long _written;

    /// <param name="root">The folder; made when something is kept.</param>
    /// <param name="limit">Bytes it may hold.</param>
    public CacheFolder(string root, long limit) => (_root, _limit) = (root, limit);

    /// <summary>The user's cache folder, and in it one for each store.</summary>
    public static string PathFor(string store, Func<string, string?> environment)
    {
        var name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(store)))[..16];
        if (environment("TIDEMARK_CACHE") is { Length: > 0 } chosen)
            return Path.Combine(Path.GetFullPath(chosen), name);
        var cache = environment("XDG_CACHE_HOME") is { Length: > 0 } folder
            ? folder
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(Path.GetFullPath(cache), "tidemark", name);
    }

    /// <summary>What is kept under a name, its hash checked; null when there is nothing, or something else.</summary>
    public byte[]? TryRead(string name)
    {
        try
        {
            using var file = File.OpenHandle(PathOf(name));
            var length = RandomAccess.GetLength(file) - HashSize;
            if (length is < 0 or > StorageLimits.MaxSealedObject)
                return null;
            var hash = new byte[HashSize];
            var content = new byte[length];
            if (RandomAccess.Read(file, hash, 0) < HashSize || RandomAccess.Read(file, content, HashSize) < length)
                return null;
            return SHA256.HashData(content).AsSpan().SequenceEqual(hash) ? content : null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Keeps bytes under a name, if that can be done.</summary>
    public void Keep(string name, ReadOnlySpan<byte> content)
    {
        var path = PathOf(name);
        var aside = $"{path}.{Guid.NewGuid():N}";
        try
        {
            Directory.CreateDirectory(
                Path.GetDirectoryName(path)!, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            using (var file = File.OpenHandle(aside, FileMode.CreateNew, FileAccess.Write))
            {
                RandomAccess.Write(file, SHA256.HashData(content), 0);
                RandomAccess.Write(file, content, HashSize);
            }

            File.Move(aside, path, overwrite: true);
            Interlocked.Add(ref _written, content.Length);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            RemoveQuietly(aside);
        }
    }

    /// <summary>Deletes the oldest files until a fifth of the limit is free, if this process added to it and it is over.</summary>
    public void Trim()
    {
        if (Interlocked.Read(ref _written) == 0)
            return;
        try
        {
            var files = new DirectoryInfo(_root).GetFiles("*", SearchOption.AllDirectories);
            var size = files.Sum(file => file.Length);
            if (size <= _limit)
                return;
            foreach (var file in files.OrderBy(file => file.LastWriteTimeUtc))
            {
                if (size <= _limit - _limit / 5)
                    return;
                size -= file.Length;
                RemoveQuietly(file.FullName);
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return; // another process is at it, or the folder was deleted
        }
    }

    private static void RemoveQuietly(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return;
        }
    }

    private string PathOf(string name)
    {
        var hex = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)));
        return Path.Combine(_root, hex[..2], hex[2..40]);
    }
}
