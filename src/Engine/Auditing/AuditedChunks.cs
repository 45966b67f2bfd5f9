// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;
using Tidemark.Engine.Backup;

namespace Tidemark.Engine.Auditing;

/// <summary>What an audit wants to see of a disk.</summary>
/// <param name="Window">All of these.</param>
/// <param name="Witnesses">Chunks that changed lately, in order: they show at once an image that was put back to an older state.</param>
internal sealed record AuditPlan(AuditWindow Window, IReadOnlyList<long> Witnesses);

/// <summary>
/// Puts the chunks of an audit between those that changed, in the order of the disk, so that both are read in one pass:
/// the rotating window; the first few witnesses that are not dirty; and, with what the window leaves of the budget (chunks in it that
/// are dirty or zero are not read for the audit), chunks next to dirty ranges, where a bitmap that is off by a little shows first.
/// One enumeration at a time.
/// </summary>
internal sealed class AuditedChunks(IBlockSource source, int chunkSize, AuditPlan plan)
{
    /// <summary>Witnesses read, whatever the budget: all that a point keeps, since only the newest of them may tell.</summary>
    public const int MostWitnesses = 8;

    private readonly IReadOnlyList<(long From, long To)> _pieces = plan.Window.Pieces;
    private readonly List<(long From, long To, bool IsNeighbour)> _wanted = [];
    private long _witnessed;
    private long _read;

    /// <summary>What changed and what is audited, in order and without overlap.</summary>
    public async IAsyncEnumerable<ChunkRun> FindAsync(
        IAsyncEnumerable<ByteRange> changed, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long at = 0;
        await foreach (var range in ChangedChunks.AlignAsync(changed, chunkSize, source.Size, cancellationToken))
        {
            await foreach (var run in AuditAsync(at, range.Offset, cancellationToken))
                yield return run;
            await foreach (var run in ChangedChunks.FindAsync(source, range, chunkSize, cancellationToken))
                yield return run;
            at = range.End;
        }

        await foreach (var run in AuditAsync(at, source.Size, cancellationToken))
            yield return run;
    }

    private async IAsyncEnumerable<ChunkRun> AuditAsync(
        long begin, long end, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (begin >= end)
            yield break;
        Want(begin / chunkSize, (end + chunkSize - 1) / chunkSize, end < source.Size);
        foreach (var (from, to, isNeighbour) in _wanted)
        {
            if (isNeighbour && plan.Window.Length - _read - plan.Window.CountFrom(to) < 1)
                continue;
            var isBudgeted = isNeighbour || plan.Window.Contains(from);
            var range = ByteRange.FromBounds(from * chunkSize, Math.Min(to * chunkSize, source.Size));
            await foreach (var run in ChangedChunks.FindAsync(source, range, chunkSize, cancellationToken))
            {
                if (run.Kind == ExtentKind.Data && isBudgeted)
                    _read += (run.Range.Length + chunkSize - 1) / chunkSize;
                yield return run with { IsAudit = true };
            }
        }
    }

    // Between two dirty ranges, or one and an end of the disk: chunks [from, to).
    private void Want(long from, long to, bool isBeforeDirty)
    {
        _wanted.Clear();
        foreach (var piece in _pieces)
        {
            var (first, last) = (Math.Max(piece.From, from), Math.Min(piece.To, to));
            if (first < last)
                _wanted.Add((first, last, false));
        }

        foreach (var witness in plan.Witnesses.Where(chunk => chunk >= from && chunk < to && !plan.Window.Contains(chunk)))
        {
            if (_witnessed++ < MostWitnesses)
                _wanted.Add((witness, witness + 1, false));
        }

        if (from > 0)
            WantNeighbour(from);
        if (isBeforeDirty && to - 1 > from)
            WantNeighbour(to - 1);
        _wanted.Sort();
    }

    private void WantNeighbour(long chunk)
    {
        if (!_wanted.Exists(wanted => wanted.From <= chunk && chunk < wanted.To))
            _wanted.Add((chunk, chunk + 1, true));
    }
}
