// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage;

public sealed partial class S3Store
{
    /// <summary>
    /// Bytes gathered in a file without a name, since a single PUT says its length and hashes first; sent when the key is known.
    /// A commit that failed for now may be called again.
    /// </summary>
    private sealed class Upload : IObjectUpload
    {
        private readonly S3Store _store;
        private readonly SafeFileHandle _file;
        private readonly IncrementalHash _md5 = TransferMd5.Begin();
        private byte[]? _digest;
        private long _length;

        public Upload(S3Store store)
        {
            _store = store;
            try
            {
                var path = Path.Combine(Folder, $"tidemark-{Guid.NewGuid():N}");
                _file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
                File.Delete(path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw Spooling(failure);
            }
        }

        // On a disk, not in memory as /tmp often is.
        private static string Folder => Environment.GetEnvironmentVariable("TMPDIR") is { Length: > 0 } folder ? folder : "/var/tmp";

        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                RandomAccess.Write(_file, bytes.Span, _length);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw Spooling(failure);
            }

            _md5.AppendData(bytes.Span);
            _length += bytes.Length;
            return ValueTask.CompletedTask;
        }

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken)
        {
            ObjectKey.Check(key);
            _digest ??= _md5.GetHashAndReset();
            var body = new Body(default, _file, _length, _digest, IsNamedByHash: PackName.TryParse(key) is not null);
            return _store.CreateAsync(key, body, cancellationToken);
        }

        public ValueTask DisposeAsync()
        {
            _file.Dispose();
            _md5.Dispose();
            return ValueTask.CompletedTask;
        }

        private StoreException Spooling(Exception failure) => new(
            $"Could not gather a pack for '{_store.Description}' in folder '{Folder}': {failure.Message.TrimEnd('.')}.", false, failure)
        {
            Hint = "TMPDIR names a folder with a few hundred MB of space",
        };
    }
}
