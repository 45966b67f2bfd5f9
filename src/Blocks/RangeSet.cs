// SPDX-License-Identifier: Apache-2.0
using System.Collections;

namespace Tidemark.Blocks;

/// <summary>
/// An ordered set of bytes kept as disjoint ranges that do not touch. Built by adding ranges in order of offset
/// (each may overlap or touch the last one): 16 bytes a range, whatever the disk's size.
/// </summary>
public sealed class RangeSet : IReadOnlyList<ByteRange>
{
    private readonly List<ByteRange> _ranges = [];

    public int Count => _ranges.Count;

    /// <summary>Bytes in the set.</summary>
    public long TotalLength { get; private set; }

    public ByteRange this[int index] => _ranges[index];

    /// <summary>Adds a range that starts at or after the start of the last one; empty ranges are ignored.</summary>
    /// <exception cref="ArgumentException">The range starts before the last one does.</exception>
    public void Add(ByteRange range)
    {
        if (range.IsEmpty)
            return;
        if (_ranges.Count > 0 && range.Offset <= _ranges[^1].End)
        {
            var last = _ranges[^1];
            if (range.Offset < last.Offset)
                throw new ArgumentException($"Range {range} starts before the last one, {last}.", nameof(range));
            var merged = ByteRange.FromBounds(last.Offset, Math.Max(last.End, range.End));
            TotalLength += merged.Length - last.Length;
            _ranges[^1] = merged;
            return;
        }

        _ranges.Add(range);
        TotalLength += range.Length;
    }

    /// <summary>Each range grown to whole units, the last one cut at <paramref name="limit"/>.</summary>
    public RangeSet AlignOut(long unit, long limit)
    {
        var aligned = new RangeSet();
        foreach (var range in _ranges)
            aligned.Add(range.AlignOut(unit, limit));
        return aligned;
    }

    public IEnumerator<ByteRange> GetEnumerator() => _ranges.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
