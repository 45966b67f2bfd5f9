// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a collection must be able to write before it can delete anything.</summary>
internal static class CollectRoom
{
    private const long PerPack = 512; // its name in condemn, verdict and index
    private const long ForRecords = 256 << 10; // those of an epoch, each at least a block, and the folders they lie in

    /// <summary>The failure of a full store, with the bytes that must be free: about those of the index, and the records.</summary>
    public static async Task<StoreFullException> ExplainAsync(
        IObjectStore store, StoreFullException failure, CancellationToken cancellationToken)
    {
        var needed = ForRecords;
        try
        {
            await foreach (var info in store.ListAsync(ObjectNames.Index, cancellationToken))
                needed += info.Size;
            await foreach (var info in store.ListAsync(ObjectNames.Packs, cancellationToken))
                needed += PerPack;
        }
        catch (StoreException)
        {
            return failure;
        }

        var mebibytes = (needed >> 20) + 1;
        return new StoreFullException(
            $"{failure.Message.TrimEnd('.')}; gc writes about {mebibytes} MiB before it deletes anything.", failure)
        {
            Hint = $"free {mebibytes} MiB of that file system elsewhere, then tidemark gc",
        };
    }
}
