// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;
using Tidemark.Blocks;

namespace Tidemark.Storage;

public sealed partial class FolderStore
{
    private void RemoveAbandonedUploads()
    {
        if (!Directory.Exists(TmpFolder))
            return;
        try
        {
            foreach (var path in Directory.EnumerateFiles(TmpFolder))
            {
                if (File.GetLastWriteTimeUtc(path) + AbandonedAfter < DateTime.UtcNow && IsUnlocked(path))
                    File.Delete(path);
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return; // only tidying: a reader without the right to write leaves them
        }
    }

    // A live upload holds flock(2) on its file (FileShare.None), a dead process can't.
    private static bool IsUnlocked(string path)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken)
    {
        try
        {
            var folder = Path.GetDirectoryName(PathOf(key))!;
            CreateFolderDurably(folder);
            _files.SyncFolder(folder);
            return ValueTask.CompletedTask;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw Failed("make durable", key, failure);
        }
    }

    // A folder seen for the first time may be another writer's, created a moment ago and not yet durable: its parent is synced once.
    private void CreateFolderDurably(string path)
    {
        if (_durableFolders.ContainsKey(path))
            return;
        var parent = Path.GetDirectoryName(path);
        var inside = path.Length > _root.Length;
        if (parent is not null && (inside || !Directory.Exists(path)))
        {
            CreateFolderDurably(parent);
            _files.CreateFolder(path);
            _files.SyncFolder(parent);
        }

        _durableFolders[path] = true;
    }

    // A backup must not push what the host's machines use out of the page cache. What is large is written past it, where the file
    // system can do that; else it is dropped from there once it is on the medium.
    private const int DirectFrom = 256 << 10;
    private const int DropCacheFrom = 8 << 20;

    /// <summary>One temporary file on its way to a key.</summary>
    private sealed class Upload : IObjectUpload
    {
        private readonly FolderStore _store;
        private readonly bool _isPack;
        private readonly bool _isStreamed; // nobody has all its bytes to write them again
        private readonly string _path;
        private readonly SafeFileHandle _file;
        private long _length;
        private bool _isDirect;
        private bool _isBuffered; // for good: this file system has nothing else
        private StoreException? _unflushed;

        public Upload(FolderStore store, bool isPack, bool isStreamed)
        {
            (_store, _isPack, _isStreamed) = (store, isPack, isStreamed);
            _path = Path.Combine(store.TmpFolder, Guid.NewGuid().ToString("N"));
            try
            {
                store.CreateFolderDurably(store.TmpFolder);
                _file = store._files.Create(_path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw store.WriteFailed(TmpName, failure);
            }
        }

        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (_isPack)
                _store.RequireRoom(bytes.Length);
            try
            {
                SetDirect(bytes.Length >= DirectFrom && DirectIo.Fits(_length, bytes.Span));
                Write(bytes.Span);
                _length += bytes.Length;
                return ValueTask.CompletedTask;
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw _store.WriteFailed(TmpName, failure);
            }
        }

        private void SetDirect(bool isDirect)
        {
            if (isDirect == _isDirect || _isBuffered)
                return;
            if (DirectIo.TrySet(_file, isDirect))
                _isDirect = isDirect;
            else
                _isBuffered = true;
        }

        private void Write(ReadOnlySpan<byte> bytes)
        {
            try
            {
                RandomAccess.Write(_file, bytes, _length);
            }
            catch (IOException failure) when (_isDirect && DirectIo.IsRefusal(failure))
            {
                SetDirect(false);
                _isBuffered = true;
                RandomAccess.Write(_file, bytes, _length);
            }
        }

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var path = _store.PathOf(key);
            var folder = Path.GetDirectoryName(path)!;
            Flush(key);
            bool created;
            try
            {
                if (_length >= DropCacheFrom)
                    Posix.DropCache(_file);
                _store.CreateFolderDurably(folder);
                Posix.ShareLock(_file); // from its name on it is read, and readers take a shared lock
                created = _store._files.Link(_path, path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw _store.WriteFailed(key, failure);
            }

            try
            {
                _store._files.SyncFolder(folder); // also when lost: the caller will rely on the winner
                return ValueTask.FromResult(created);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw _store.Failed("write", key, failure);
            }
        }

        // Bytes that could not be written are reported by one fsync only: the next one succeeds, and they are lost all the same. So this
        // file is never committed; whoever still has the bytes writes them to another one.
        private void Flush(string key)
        {
            if (_unflushed is not null)
                throw new StoreException($"{_unflushed.Message} What was uploaded may be lost; upload it again.", false, _unflushed);
            try
            {
                _store._files.Flush(_file, _path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                _unflushed = _store.WriteFailed(key, failure);
                throw _isStreamed && _unflushed.IsTransient ? new StoreException(_unflushed.Message, false, failure) : _unflushed;
            }
        }

        public ValueTask DisposeAsync()
        {
            try
            {
                _store._files.Delete(_path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                _length = 0; // the next opener sweeps it
            }

            _file.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
