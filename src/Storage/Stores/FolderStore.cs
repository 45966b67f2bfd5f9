// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage;

/// <summary>
/// A folder as object store (docs/format.md section 10): a temporary file, fsync, link(2) onto the key, fsync of the folder. Many
/// processes may share it. Owns nothing but the temporary files of its own uploads.
/// </summary>
public sealed partial class FolderStore : IObjectStore
{
    private const string TmpName = "tmp";
    private const string PackPrefix = "packs/";
    private static readonly TimeSpan AbandonedAfter = TimeSpan.FromMinutes(1);
    private readonly string _root;
    private readonly FolderFiles _files;
    private readonly ConcurrentDictionary<string, bool> _durableFolders = new(StringComparer.Ordinal);

    /// <param name="path">The folder; it is created by the first write.</param>
    public FolderStore(string path)
        : this(path, FolderFiles.OfHost)
    {
    }

    internal FolderStore(string path, FolderFiles files)
    {
        _files = files;
        _root = Path.GetFullPath(path);
        RemoveAbandonedUploads();
    }

    public string Description => _root;

    private string TmpFolder => Path.Combine(_root, TmpName);

    public async ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        ObjectKey.Check(key);
        await using var upload = new Upload(this, key.StartsWith(PackPrefix, StringComparison.Ordinal), isStreamed: false);
        if (!content.IsEmpty)
            await upload.WriteAsync(content, cancellationToken);
        return await upload.CommitAsync(key, cancellationToken);
    }

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult<IObjectUpload>(new Upload(this, isPack: true, isStreamed: true));
    }

    public async ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var path = PathOf(key);
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var file = File.OpenHandle(path, options: FileOptions.None);
                return await ReadAsync(file, offset, buffer, cancellationToken);
            }
            catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
            {
                if (IsAbsent(path, key, attempt))
                    throw new ObjectMissingException(key, Description);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw Failed("read", key, failure);
            }
        }
    }

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken)
    {
        var path = PathOf(key);
        for (var attempt = 1; ; attempt++)
        {
            if (TryDescribe(path, key, "look up", key) is { } info)
                return ValueTask.FromResult<ObjectInfo?>(info);
            if (IsAbsent(path, key, attempt))
                return ValueTask.FromResult<ObjectInfo?>(null);
        }
    }

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.CompletedTask;
        var folders = new Stack<string>([prefix.Length == 0 ? _root : Path.Combine(_root, prefix.TrimEnd('/'))]);
        while (folders.TryPop(out var folder))
        {
            foreach (var (path, isFolder) in Entries(folder, prefix))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (isFolder && path != TmpFolder)
                    folders.Push(path);
                else if (!isFolder && Listed(path, prefix) is { } info)
                    yield return info;
            }
        }
    }

    public ValueTask DeleteAsync(string key, CancellationToken cancellationToken)
    {
        try
        {
            var path = PathOf(key);
            for (var attempt = 1; !_files.Delete(path) && !IsAbsent(path, key, attempt); attempt++)
                cancellationToken.ThrowIfCancellationRequested();

            // Also when it was gone: who removed it may not have come to this yet.
            if (Directory.Exists(Path.GetDirectoryName(path)))
                _files.SyncFolder(Path.GetDirectoryName(path)!);
            return ValueTask.CompletedTask;
        }
        catch (Exception failure) when (failure is (IOException or UnauthorizedAccessException) and not StoreException)
        {
            throw Failed("delete", key, failure);
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static async ValueTask<int> ReadAsync(
        SafeFileHandle file, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        // What is in memory is copied here and now: handing it to another thread costs more than the copy.
        var total = Posix.ReadCached(file, offset, buffer.Span);
        while (total < buffer.Length)
        {
            var read = await RandomAccess.ReadAsync(file, buffer[total..], offset + total, cancellationToken);
            if (read == 0)
                break;
            total += read;
        }

        return total;
    }

    // packs/<wid>/<rid>/<k>-<sha> lies in packs/<wid>/<rid>/<2 hex>/, so that no folder grows with the size of a backup.
    private string PathOf(string key)
    {
        ObjectKey.Check(key);
        var name = key.LastIndexOf('/') + 1;
        return key.StartsWith(PackPrefix, StringComparison.Ordinal) && key.Length - name > 4
            ? Path.Combine(_root, key[..name], key.Substring(name + 2, 2), key[name..])
            : Path.Combine(_root, key);
    }

    private static string KeyOf(string relative)
    {
        if (!relative.StartsWith(PackPrefix, StringComparison.Ordinal))
            return relative;
        var name = relative.LastIndexOf('/');
        var fan = relative.LastIndexOf('/', name - 1);
        return relative[..fan] + relative[name..];
    }

    private StoreException Failed(string what, string key, Exception failure) =>
        new($"Could not {what} '{key}' in '{Description}': {failure.Message}", IsTransient(failure), failure);

    // ESTALE (116), EINTR (4), EAGAIN (11), ETIMEDOUT (110): a network file system may answer next time. ENOSPC and EIO will not.
    private static bool IsTransient(Exception failure) => failure.HResult is 116 or 4 or 11 or 110;
}
