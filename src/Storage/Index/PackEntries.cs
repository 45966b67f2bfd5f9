// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Tidemark.Storage;

/// <summary>What segments say lies in some packs, one segment in memory at a time. A segment that is gone or damaged says
/// nothing.</summary>
internal static class PackEntries
{
    /// <summary>The entries of the packs whose keys are wanted, in no order; several copies of an entry when segments repeat it.</summary>
    public static async IAsyncEnumerable<(string Pack, IndexEntry Entry)> OfAsync(
        RepositoryContext context, IEnumerable<string> segments, Func<string, bool> isWanted,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (var key in segments)
        {
            if (await TryReadAsync(context, key, cancellationToken) is not { } segment)
                continue;
            var packs = segment.Packs.Select(pack => pack.Name.Key).Select(pack => isWanted(pack) ? pack : null).ToArray();
            if (Array.TrueForAll(packs, pack => pack is null))
                continue;
            for (var i = 0; i < segment.Count; i++)
            {
                var entry = segment[i];
                if (entry.Pack < packs.Length && packs[entry.Pack] is { } pack
                    && entry.Length is >= BlobSealer.Overhead and <= StorageLimits.MaxBlob)
                    yield return (pack, entry);
            }
        }
    }

    private static async ValueTask<IndexSegment?> TryReadAsync(RepositoryContext context, string key, CancellationToken cancellationToken)
    {
        try
        {
            return await context.ReadSealedAsync(key, cancellationToken) is { } plain ? IndexSegment.Read(key, plain) : null;
        }
        catch (RepositoryDamagedException)
        {
            return null;
        }
    }
}
