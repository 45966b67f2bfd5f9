// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>
/// Dirty ranges with their allocation. Ranges that lie close together share one request for allocation; requests for groups run
/// ahead of the consumer.
/// </summary>
internal static class DirtyWalk
{
    // A round trip costs about as much as the server's walk over this much of a disk.
    private const long LargestGap = 16L * 1024 * 1024;

    // Bounds the extents of one group: at most 16384 of 64 KiB.
    private const long LongestGroup = 1024L * 1024 * 1024;

    private const int GroupsInFlight = 8;

    public static async IAsyncEnumerable<Extent> ExtentsAsync(
        NbdBlockSource source, string contextName, ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var ahead = new Queue<Task<List<Extent>>>();
        try
        {
            await foreach (var group in GroupsAsync(source.DirtyRangesAsync(contextName, range, stop.Token)))
            {
                if (ahead.Count == GroupsInFlight)
                {
                    foreach (var extent in await ahead.Dequeue())
                        yield return extent;
                }

                ahead.Enqueue(WithAllocationAsync(source, group, stop.Token));
            }

            while (ahead.TryDequeue(out var task))
            {
                foreach (var extent in await task)
                    yield return extent;
            }
        }
        finally
        {
            await stop.CancelAsync();
            foreach (var task in ahead)
                await ((Task)task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async IAsyncEnumerable<List<ByteRange>> GroupsAsync(IAsyncEnumerable<ByteRange> ranges)
    {
        var group = new List<ByteRange>();
        await foreach (var range in ranges)
        {
            if (group.Count > 0 && (range.Offset - group[^1].End > LargestGap || range.End - group[0].Offset > LongestGroup))
            {
                yield return group;
                group = [];
            }

            group.Add(range);
        }

        if (group.Count > 0)
            yield return group;
    }

    private static async Task<List<Extent>> WithAllocationAsync(
        NbdBlockSource source, List<ByteRange> group, CancellationToken cancellationToken)
    {
        var found = new List<Extent>();
        var at = 0;
        await foreach (var extent in source.ExtentsAsync(ByteRange.FromBounds(group[0].Offset, group[^1].End), cancellationToken))
        {
            for (; at < group.Count && group[at].Offset < extent.Range.End; at++)
            {
                var part = group[at].Intersect(extent.Range);
                if (!part.IsEmpty)
                    found.Add(extent with { Range = part });
                if (group[at].End > extent.Range.End)
                    break;
            }
        }

        return found;
    }
}
