// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class FolderStore
{
    /// <summary>The time that the file system, which may be another host's, gives to a file made now; that file never has a key.</summary>
    public ValueTask<DateTimeOffset?> ReadClockAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var path = Path.Combine(TmpFolder, Guid.NewGuid().ToString("N"));
        try
        {
            CreateFolderDurably(TmpFolder);
            using var file = _files.Create(path);
            RandomAccess.Write(file, "?"u8, 0);
            RandomAccess.FlushToDisk(file);
            return ValueTask.FromResult<DateTimeOffset?>(new DateTimeOffset(File.GetLastWriteTimeUtc(file)));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return ValueTask.FromResult<DateTimeOffset?>(null); // no right to write here: then nothing can be asked
        }
        finally
        {
            RemoveOwn(path);
        }
    }

    private static void RemoveOwn(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return; // it was never made, or the next opener sweeps it
        }
    }
}
