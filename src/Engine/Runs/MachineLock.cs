// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Engine.Runs;

/// <summary>
/// One run at a time on a machine of this host. The kernel drops the lock with the process that holds it, so holding it is
/// proof that whatever the journal says of this machine was left by the dead.
/// </summary>
public sealed class MachineLock : IDisposable
{
    private readonly FileStream _file;

    private MachineLock(FileStream file) => _file = file;

    /// <summary>Takes the lock; null when another process still has it after <paramref name="patience"/>.</summary>
    public static async Task<MachineLock?> TryTakeAsync(
        HostFolders folders, string machineUuid, TimeSpan patience, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folders.Locks, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var path = Path.Combine(folders.Locks, Guid.Parse(machineUuid).ToString("d"));
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return new MachineLock(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
            }
            catch (IOException) when (File.Exists(path))
            {
                if (Stopwatch.GetElapsedTime(started) >= patience)
                    return null;
            }

            await Task.Delay(100, cancellationToken);
        }
    }

    public void Dispose() => _file.Dispose();
}
