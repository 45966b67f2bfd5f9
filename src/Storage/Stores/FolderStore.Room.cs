// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class FolderStore
{
    private const int NoSpace = 28; // ENOSPC
    private const int QuotaUsedUp = 122; // EDQUOT
    private const string FullHint = "tidemark prune, then tidemark gc --undo-window 0h gives back what no rule keeps";

    /// <summary>
    /// What packs leave free of a file system of <paramref name="total"/> bytes. A collector writes before it deletes: some records, and
    /// the index anew, 40 bytes for each chunk. With the last bytes gone nothing could be given back any more.
    /// </summary>
    internal static long KeptFree(long total) => Math.Min(total / 16, Math.Max(1L << 20, total / 512));

    private void RequireRoom(int bytes)
    {
        if (_files.Room(_root) is not { Total: > 0 } room || room.Free - bytes >= KeptFree(room.Total))
            return;
        var (free, kept) = (room.Free >> 10, KeptFree(room.Total) >> 10);
        throw new StoreFullException(
            $"Folder '{_root}' is full: {free} KiB are left, of which packs leave {kept} KiB to gc, which writes before it deletes.")
        {
            Hint = FullHint,
        };
    }

    // For what fails before a name is given to it.
    private StoreException WriteFailed(string key, Exception failure) => failure.HResult switch
    {
        NoSpace => Full(key, "no space (or no inode) is left on its file system", failure),
        QuotaUsedUp => Full(key, "the quota is used up", failure),
        _ => Failed("write", key, failure),
    };

    private StoreFullException Full(string key, string why, Exception failure) =>
        new($"Folder '{_root}' is full: could not write '{key}', {why}.", failure) { Hint = FullHint };
}
