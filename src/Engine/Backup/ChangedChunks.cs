// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.Engine.Backup;

/// <summary>A run of whole chunks (the last may end with the disk) and what to do with them.</summary>
/// <param name="Range">Starts on a chunk boundary.</param>
/// <param name="Kind">Data: read it. Zero: it is zero, whatever it was.</param>
internal readonly record struct ChunkRun(ByteRange Range, ExtentKind Kind)
{
    /// <summary>Said to be unchanged, and looked at all the same.</summary>
    public bool IsAudit { get; init; }
}

/// <summary>
/// Turns what a frozen disk says of itself into runs of whole chunks, in order and without overlap. What is not named is
/// unchanged. A range that is dirty and zero comes out as zero: never left out, never left as it was.
/// </summary>
internal static class ChangedChunks
{
    // Reading this much costs less than asking first what of it is data.
    private const long AskAbove = 1 << 20;

    // A multiple of every chunk size.
    private const long Window = 64L << 30;

    /// <param name="source">The frozen disk.</param>
    /// <param name="changed">Changed ranges in order; the whole disk for a full read.</param>
    /// <param name="chunkSize">Bytes.</param>
    /// <param name="cancellationToken">Ends the enumeration.</param>
    public static async IAsyncEnumerable<ChunkRun> FindAsync(
        IBlockSource source,
        IAsyncEnumerable<ByteRange> changed,
        int chunkSize,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var range in AlignAsync(changed, chunkSize, source.Size, cancellationToken))
        {
            await foreach (var run in FindAsync(source, range, chunkSize, cancellationToken))
                yield return run;
        }
    }

    /// <summary>One range, of whole chunks.</summary>
    public static async IAsyncEnumerable<ChunkRun> FindAsync(
        IBlockSource source, ByteRange range, int chunkSize, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (range.Length <= Math.Max(AskAbove, chunkSize))
        {
            yield return new ChunkRun(range, ExtentKind.Data);
            yield break;
        }

        // In windows: reading begins before the whole map of a large disk is known.
        for (var at = range.Offset; at < range.End; at += Window)
        {
            var part = ByteRange.FromBounds(at, Math.Min(range.End, at + Window));
            await foreach (var run in SplitAsync(source, part, chunkSize, cancellationToken))
                yield return run;
        }
    }

    /// <summary>Grows the ranges to whole chunks and merges those that then touch or overlap.</summary>
    public static async IAsyncEnumerable<ByteRange> AlignAsync(
        IAsyncEnumerable<ByteRange> ranges, int chunkSize, long size, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ByteRange? pending = null;
        await foreach (var range in ranges.WithCancellation(cancellationToken))
        {
            var aligned = range.AlignOut(chunkSize, size);
            if (aligned.IsEmpty)
                continue;
            if (pending is { } last && aligned.Offset <= last.End)
            {
                pending = ByteRange.FromBounds(last.Offset, Math.Max(last.End, aligned.End));
                continue;
            }

            if (pending is { } done)
                yield return done;
            pending = aligned;
        }

        if (pending is { } rest)
            yield return rest;
    }

    // A chunk is zero only when all of it lies in zero extents; one byte of data makes it data.
    private static async IAsyncEnumerable<ChunkRun> SplitAsync(
        IBlockSource source, ByteRange range, int chunkSize, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var done = range.Offset;
        await foreach (var extent in source.ExtentsAsync(range, cancellationToken))
        {
            if (extent.Kind == ExtentKind.Zero)
                continue;
            var start = Math.Max(done, extent.Range.Offset / chunkSize * chunkSize);
            var end = extent.Range.AlignOut(chunkSize, range.End).End;
            if (end <= done)
                continue;
            if (start > done)
                yield return new ChunkRun(ByteRange.FromBounds(done, start), ExtentKind.Zero);
            yield return new ChunkRun(ByteRange.FromBounds(start, end), ExtentKind.Data);
            done = end;
        }

        if (done < range.End)
            yield return new ChunkRun(ByteRange.FromBounds(done, range.End), ExtentKind.Zero);
    }
}
