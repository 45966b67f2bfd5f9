// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class FolderStore
{
    private const int ProbeWriters = 32;

    public async ValueTask ProbeAsync(CancellationToken cancellationToken)
    {
        var key = $"probe/{Guid.NewGuid():N}";
        try
        {
            ProbeExclusiveCreate();
            var tries = Enumerable.Range(0, ProbeWriters).Select(writer => Task.Run(
                () => PutIfAbsentAsync(key, new[] { (byte)writer }, cancellationToken).AsTask(), cancellationToken));
            var winners = (await Task.WhenAll(tries)).Count(won => won);
            if (winners != 1)
                throw Unsuitable($"{winners} of {ProbeWriters} writers created the same object; exactly one must");
            var listed = 0;
            await foreach (var info in ListAsync("probe/", cancellationToken))
                listed += info.Key == key && info.Size == 1 ? 1 : 0;
            if (listed != 1)
                throw Unsuitable("an object just written is not listed");
        }
        catch (StoreException failure) when (failure is not (StoreUnsuitableException or StoreFullException))
        {
            throw new StoreException(
                $"Folder '{_root}' can't hold a repository now: {failure.InnerException?.Message ?? failure.Message}",
                failure.IsTransient, failure);
        }
        finally
        {
            RemoveOwn(PathOf(key)); // its folder stays: others may be probing there
        }
    }

    private void ProbeExclusiveCreate()
    {
        var path = Path.Combine(TmpFolder, Guid.NewGuid().ToString("N"));
        try
        {
            CreateFolderDurably(TmpFolder);
            using var first = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
            try
            {
                using var second = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.ReadWrite);
            }
            catch (IOException exists) when (exists.HResult == Posix.ErrnoExists)
            {
                return;
            }
            finally
            {
                File.Delete(path);
            }

            throw Unsuitable("it creates a file that exists already");
        }
        catch (Exception failure) when (failure is (IOException or UnauthorizedAccessException) and not StoreException)
        {
            throw WriteFailed(TmpName, failure);
        }
    }

    private StoreUnsuitableException Unsuitable(string reason) => new($"Folder '{_root}' can't hold a repository: {reason}.");
}
