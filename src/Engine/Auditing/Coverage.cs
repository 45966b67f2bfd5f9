// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Auditing;

/// <summary>
/// Which run last compared which chunks of a disk with the disk itself: pure data, kept in every restore point. At most
/// <see cref="MostSpans"/> spans; where there would be more, neighbours are taken together as compared by the older run, so that too
/// much may be doubted later, never too little.
/// </summary>
internal sealed class Coverage
{
    public const int MostSpans = 64;

    private static readonly (long Seq, string? Run, DateTimeOffset? Time) Never = (0, null, null);

    private Coverage(IReadOnlyList<AuditedSpan> spans) => Spans = spans;

    /// <summary>In order, without gap, up to the disk's last chunk.</summary>
    public IReadOnlyList<AuditedSpan> Spans { get; }

    /// <summary>The span compared longest ago; seq 0 when some chunks never were. Null for a disk without chunks.</summary>
    public AuditedSpan? Oldest => Spans.MinBy(span => span.Seq);

    public static Coverage None(long chunks) => Of(chunks, Never);

    public static Coverage Whole(long chunks, long seq, string run, DateTimeOffset time) => Of(chunks, (seq, run, time));

    /// <summary>What a restore point says; nothing is known if that does not fit the disk.</summary>
    public static Coverage Read(IReadOnlyList<AuditedSpan> spans, long chunks)
    {
        var fits = spans.Count is > 0 and <= MostSpans && spans[^1].To == chunks && spans[0].To > 0
            && spans.Zip(spans.Skip(1)).All(pair => pair.First.To < pair.Second.To)
            && spans.All(span => span.Seq >= 0);
        return fits ? new Coverage(spans) : None(chunks);
    }

    /// <summary>The span that holds a chunk.</summary>
    public AuditedSpan Of(long chunk)
    {
        var (low, high) = (0, Spans.Count - 1);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (Spans[middle].To <= chunk)
                low = middle + 1;
            else
                high = middle;
        }

        return Spans[low];
    }

    /// <summary>The same after a run has compared the chunks of a window.</summary>
    public Coverage With(AuditWindow window, long seq, string run, DateTimeOffset time)
    {
        var pieces = window.Pieces;
        var cuts = Spans.Select(span => span.To).Concat(pieces.SelectMany(piece => (long[])[piece.From, piece.To]))
            .Where(cut => cut > 0).Distinct().Order().ToList();
        var spans = new List<AuditedSpan>();
        foreach (var to in cuts)
        {
            var old = Of(to - 1);
            var span = window.Contains(to - 1) ? new AuditedSpan(to, seq, run, time) : old with { To = to };
            if (spans.Count > 0 && spans[^1].Seq == span.Seq)
                spans[^1] = span;
            else
                spans.Add(span);
        }

        while (spans.Count > MostSpans)
            MergeCheapest(spans);
        return new Coverage(spans);
    }

    private static Coverage Of(long chunks, (long Seq, string? Run, DateTimeOffset? Time) by) =>
        new(chunks == 0 ? [] : [new AuditedSpan(chunks, by.Seq, by.Run, by.Time)]);

    // The pair that loses least: few chunks, made little older.
    private static void MergeCheapest(List<AuditedSpan> spans)
    {
        var (best, least) = (0, decimal.MaxValue);
        for (var i = 0; i + 1 < spans.Count; i++)
        {
            var begin = i == 0 ? 0 : spans[i - 1].To;
            var younger = spans[i].Seq > spans[i + 1].Seq ? spans[i].To - begin : spans[i + 1].To - spans[i].To;
            var cost = (decimal)younger * Math.Abs(spans[i].Seq - spans[i + 1].Seq);
            if (cost < least)
                (best, least) = (i, cost);
        }

        var older = spans[best].Seq < spans[best + 1].Seq ? spans[best] : spans[best + 1];
        spans[best + 1] = older with { To = spans[best + 1].To };
        spans.RemoveAt(best);
        for (var i = spans.Count - 1; i > 0; i--)
        {
            if (spans[i].Seq == spans[i - 1].Seq)
                spans.RemoveAt(i - 1);
        }
    }
}
