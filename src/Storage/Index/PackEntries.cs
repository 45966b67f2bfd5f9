// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Tidemark.Storage;

/// <summary>What segments say lies in some packs, one segment in memory at a time. A segment that is gone or damaged says
/// nothing.</summary>
internal static class PackEntries
{
    /// <summary>The entries of the packs whose keys are wanted, in no order; several copies of an entry when segments repeat it.</summary>
    /// <param name="context">The repository.</param>
    /// <param name="segments">Keys of segments.</param>
    /// <param name="isWanted">Chooses packs.</param>
    /// <param name="unread">Told of what the store fails for good to read, which then says nothing; without it that is thrown.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static async IAsyncEnumerable<(string Pack, IndexEntry Entry)> OfAsync(
        RepositoryContext context, IEnumerable<string> segments, Func<string, bool> isWanted, Action<string, StoreException>? unread,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (var key in segments)
        {
            if (await TryReadAsync(context, key, unread, cancellationToken) is not { } segment)
                continue;
            var packs = segment.Packs.Select(pack => isWanted(pack.Name.Key) ? pack.Name.Key : null).ToArray();
            if (Array.TrueForAll(packs, pack => pack is null))
                continue;
            var contents = await ContentsAsync(context, segment, packs, unread, cancellationToken);
            for (var i = 0; i < segment.Count; i++)
            {
                var entry = segment[i];
                if (entry.Pack < packs.Length && packs[entry.Pack] is { } pack
                    && entry.Length is >= BlobSealer.Overhead and <= StorageLimits.MaxBlob
                    && (!contents.TryGetValue((int)entry.Pack, out var held) || held.Contains(entry.Id)))
                    yield return (pack, entry);
            }
        }
    }

    // What hearsay is about says itself what it holds; where that does not open, the hearsay is all there is.
    private static async Task<Dictionary<int, HashSet<BlobId>>> ContentsAsync(
        RepositoryContext context, IndexSegment segment, string?[] wanted, Action<string, StoreException>? unread,
        CancellationToken cancellationToken)
    {
        var contents = new Dictionary<int, HashSet<BlobId>>();
        for (var i = 0; i < wanted.Length; i++)
        {
            if (wanted[i] is not { } pack || !segment.IsHearsay(segment.Packs[i]))
                continue;
            try
            {
                if (await CollectorSegments.ReadContentsAsync(
                    context, segment.Packs[i].Name, segment.Packs[i].Size, cancellationToken) is { } entries)
                    contents[i] = [.. entries.Select(entry => entry.Id)];
            }
            catch (StoreException failure) when (unread is not null && !failure.IsTransient)
            {
                unread(pack, failure);
                contents[i] = [];
            }
        }

        return contents;
    }

    private static async ValueTask<IndexSegment?> TryReadAsync(
        RepositoryContext context, string key, Action<string, StoreException>? unread, CancellationToken cancellationToken)
    {
        try
        {
            return await context.ReadSealedAsync(key, cancellationToken) is { } plain ? IndexSegment.Read(key, plain) : null;
        }
        catch (RepositoryDamagedException)
        {
            return null;
        }
        catch (StoreException failure) when (unread is not null && !failure.IsTransient)
        {
            unread(key, failure);
            return null;
        }
    }
}
