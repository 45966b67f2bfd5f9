// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;

namespace Tidemark.Storage;

/// <summary>
/// Lets one task of this host at a time do something, across processes: flock(2) on a file in the temporary folder that is never
/// removed. The lock of a dead process is free.
/// </summary>
internal sealed class HostLock(string name)
{
    private const int ErrnoAgain = 11; // EAGAIN: another one has it
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    private readonly string _path = Path.Combine(Path.GetTempPath(), $"tidemark-{Environment.UserName}-{Short(name)}.lock");

    private static string Short(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];

    /// <summary>Waits for the lock; disposing the result gives it back.</summary>
    /// <exception cref="StoreException">The file can't be made or opened at all.</exception>
    public async ValueTask<IDisposable> TakeAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return File.OpenHandle(_path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException failure) when (failure.HResult == ErrnoAgain)
            {
                await Task.Delay(Pause, cancellationToken);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw new StoreException($"The lock file '{_path}' can't be opened: {failure.Message}", isTransient: false, failure);
            }
        }
    }
}
