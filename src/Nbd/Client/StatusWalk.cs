// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>What several contexts say of the same bytes. The last extent of a context may reach beyond the range.</summary>
internal readonly record struct StatusSlice(ByteRange Range, IReadOnlyList<NbdContextStatus> Contexts);

/// <summary>
/// Block status of ranges of any length: windows of nearly 4 GiB, some asked for ahead, each answer continued where it ends early.
/// </summary>
internal static class StatusWalk
{
    // What is asked for ahead hides the round trip. It costs the memory of an answer each, 3 MiB at QEMU's largest.
    private const int WindowsInFlight = 4;

    /// <summary>Slices in order, without gap, together the range grown to whole units.</summary>
    public static async IAsyncEnumerable<StatusSlice> SlicesAsync(
        ConnectionPool pool, IReadOnlyList<string> contexts, ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var ahead = new Queue<Task<StatusSlice>>();
        var whole = pool.Around(range);
        var next = whole.Offset;
        try
        {
            for (var offset = whole.Offset; offset < whole.End;)
            {
                while (ahead.Count < WindowsInFlight && next < whole.End)
                {
                    var window = new ByteRange(next, Math.Min(NbdLimits.MaxStatusLength, whole.End - next));
                    ahead.Enqueue(AskAsync(pool, contexts, window, stop.Token));
                    next = window.End;
                }

                var windowEnd = Math.Min(offset + NbdLimits.MaxStatusLength, whole.End);
                var slice = await ahead.Dequeue();
                yield return slice;
                for (offset = slice.Range.End; offset < windowEnd; offset = slice.Range.End)
                {
                    slice = await AskAsync(pool, contexts, ByteRange.FromBounds(offset, windowEnd), stop.Token);
                    yield return slice;
                }
            }
        }
        finally
        {
            await stop.CancelAsync();
            foreach (var task in ahead)
                await ((Task)task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Extents of the slices of one context, cut at the range; neighbours with equal flags are one.</summary>
    public static async IAsyncEnumerable<NbdStatusExtent> ExtentsAsync(
        ConnectionPool pool, string context, ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        NbdStatusExtent? last = null;
        await foreach (var slice in SlicesAsync(pool, [context], range, cancellationToken))
        {
            var known = slice.Range.Intersect(range);
            foreach (var extent in slice.Contexts[0].Extents)
            {
                var part = extent.Range.Intersect(known);
                if (part.IsEmpty)
                    continue;
                if (last is { } open && open.Flags == extent.Flags)
                {
                    last = new NbdStatusExtent(ByteRange.FromBounds(open.Range.Offset, part.End), extent.Flags);
                    continue;
                }

                if (last is { } finished)
                    yield return finished;
                last = new NbdStatusExtent(part, extent.Flags);
            }
        }

        if (last is { } end)
            yield return end;
    }

    private static async Task<StatusSlice> AskAsync(
        ConnectionPool pool, IReadOnlyList<string> contexts, ByteRange window, CancellationToken cancellationToken)
    {
        var connection = pool.For(contexts) ?? throw new NbdRequestException(
            NbdError.NotSupported, $"Export '{pool.Export.Name}' does not offer meta context '{string.Join("', '", contexts)}'.");
        var answers = await connection.BlockStatusAsync(window, isOneExtent: false, cancellationToken);
        var wanted = contexts.Select(name => answers.First(answer => answer.Context == name)).ToList();
        return new StatusSlice(ByteRange.FromBounds(window.Offset, wanted.Min(answer => answer.End)), wanted);
    }
}
