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
        catch (StoreException failure) when (failure is not StoreUnsuitableException)
        {
            throw new StoreUnsuitableException(
                $"Folder '{_root}' can't hold a repository: {failure.InnerException?.Message ?? failure.Message}", failure);
        }
        finally
        {
            RemoveProbe(key);
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
            catch (IOException)
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
            throw new StoreUnsuitableException($"Folder '{_root}' can't hold a repository: {failure.Message}", failure);
        }
    }

    private void RemoveProbe(string key)
    {
        try
        {
            File.Delete(PathOf(key));
            Directory.Delete(Path.Combine(_root, "probe"));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return; // the probe's result stands; an unlisted leftover of one byte does no harm
        }
    }

    private StoreUnsuitableException Unsuitable(string reason) => new($"Folder '{_root}' can't hold a repository: {reason}.");
}
