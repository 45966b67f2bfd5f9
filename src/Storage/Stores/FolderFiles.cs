// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage;

/// <summary>
/// The calls of a folder store that decide what outlives a power failure (docs/format.md section 10): a file's bytes do after
/// <see cref="Flush"/>, a name in a folder, or its absence, after <see cref="SyncFolder"/> of that folder. Tests put a recorder here.
/// </summary>
internal class FolderFiles
{
    public static FolderFiles OfHost { get; } = new();

    /// <summary>Creates a file that no other process may open meanwhile.</summary>
    public virtual SafeFileHandle Create(string path) => File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.None);

    public virtual void Flush(SafeFileHandle file, string path) => RandomAccess.FlushToDisk(file);

    /// <summary>Bytes free for a user, and all bytes, of the file system that a folder lies on; null where that can't be told.</summary>
    public virtual (long Free, long Total)? Room(string path)
    {
        try
        {
            var drive = new DriveInfo(path);
            return (drive.AvailableFreeSpace, drive.TotalSize);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Gives a file a second name; false when that name exists.</summary>
    public virtual bool Link(string existing, string name) => Posix.Link(existing, name);

    public virtual void CreateFolder(string path) => Directory.CreateDirectory(path);

    /// <summary>Removes a file; false when there is none.</summary>
    public virtual bool Delete(string path) => Posix.Unlink(path);

    public virtual void SyncFolder(string path) => Posix.SyncFolder(path);
}
