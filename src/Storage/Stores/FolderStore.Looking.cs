// SPDX-License-Identifier: Apache-2.0
using System.IO.Enumeration;

namespace Tidemark.Storage;

// A client of a network file system may answer from memory what it knew of a name a while ago. What its lists show is believed: a name
// that is listed and not found is asked for again, and is an error when that does not help; it is never left out silently.
public sealed partial class FolderStore
{
    private const int Looks = 10; // more than a key has parts: of each, a client may be wrong
    private static readonly EnumerationOptions Everything = new() { IgnoreInaccessible = false, AttributesToSkip = FileAttributes.None };

    private IReadOnlyList<Entry> Entries(string folder, string prefix)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                if (Posix.CanOpen(folder))
                {
                    return [.. new FileSystemEnumerable<Entry>(folder, Describe, Everything)];
                }
            }
            catch (DirectoryNotFoundException)
            {
                // Removed meanwhile.
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw Failed("list", prefix, failure);
            }

            if (IsAbsent(folder, prefix, attempt))
                return [];
        }
    }

    private static Entry Describe(ref FileSystemEntry entry) => new(entry.ToFullPath(), entry.IsDirectory);

    private ObjectInfo? Listed(string path, string prefix)
    {
        var relative = Path.GetRelativePath(_root, path);
        if (!ObjectKey.IsValid(relative))
            return null;
        for (var attempt = 1; ; attempt++)
        {
            if (TryDescribe(path, KeyOf(relative), "list", prefix) is { } info)
                return info;
            if (IsAbsent(path, KeyOf(relative), attempt))
                return null; // deleted while it was listed
        }
    }

    private ObjectInfo? TryDescribe(string path, string key, string what, string of)
    {
        try
        {
            if (what != "list" && !Posix.CanOpen(path))
                return null; // opening asks the server

            // Length throws what File.Exists would hide: "not allowed to look" is not "absent".
            var file = new FileInfo(path);
            return new ObjectInfo(key, file.Length, new DateTimeOffset(file.LastWriteTimeUtc));
        }
        catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw Failed(what, of, failure);
        }
    }

    /// <summary>Whether what was not found by its name is not in its folder's list either; false when it is, and is to be looked for
    /// again.</summary>
    /// <exception cref="StoreException">It was listed, and not found, too often.</exception>
    private bool IsAbsent(string path, string key, int attempt)
    {
        if (FindForgotten(path, key) is not { } forgotten)
            return true;
        if (attempt == Looks)
            throw new StoreException(
                $"'{key}' in '{_root}' is listed but not found: this host's client of the file system answers from an old memory.",
                isTransient: true)
            {
                Hint = "mount it without caching names, and try again",
            };
        Posix.AskAgain(forgotten);
        return false;
    }

    // The path, or a folder above it, that is listed though its name is not found; null when there is none.
    private string? FindForgotten(string path, string key)
    {
        if (path.Length <= _root.Length)
            return null;
        var folder = Path.GetDirectoryName(path)!;
        try
        {
            if (!Posix.CanOpen(folder))
                return FindForgotten(folder, key);
            var found = new FileSystemEnumerable<Entry>(folder, Describe, Everything)
            {
                ShouldIncludePredicate = (ref FileSystemEntry entry) => entry.FileName.SequenceEqual(Path.GetFileName(path.AsSpan())),
            };
            return found.Any() ? path : null;
        }
        catch (DirectoryNotFoundException)
        {
            return FindForgotten(folder, key);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw Failed("look up", key, failure);
        }
    }

    private readonly record struct Entry(string Path, bool IsFolder);
}
