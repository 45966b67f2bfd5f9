// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Blocks;

/// <summary>A half-open range of bytes, [<see cref="Offset"/>, <see cref="End"/>), of a disk.</summary>
public readonly record struct ByteRange
{
    /// <param name="offset">First byte, not negative.</param>
    /// <param name="length">Bytes, not negative; offset + length must not overflow.</param>
    /// <exception cref="ArgumentOutOfRangeException">A bound is negative or their sum overflows.</exception>
    public ByteRange(long offset, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, long.MaxValue - offset);
        Offset = offset;
        Length = length;
    }

    public long Offset { get; }

    public long Length { get; }

    /// <summary>First byte after the range.</summary>
    public long End => Offset + Length;

    public bool IsEmpty => Length == 0;

    /// <summary>The range from <paramref name="start"/> up to, not including, <paramref name="end"/>.</summary>
    public static ByteRange FromBounds(long start, long end) => new(start, end - start);

    public bool Contains(long offset) => offset >= Offset && offset < End;

    /// <summary>The common part; empty, at this range's start, when there is none.</summary>
    public ByteRange Intersect(ByteRange other)
    {
        var start = Math.Max(Offset, other.Offset);
        var end = Math.Min(End, other.End);
        return end > start ? FromBounds(start, end) : new ByteRange(Offset, 0);
    }

    /// <summary>The smallest range of whole units that covers this one, cut at <paramref name="limit"/>.</summary>
    public ByteRange AlignOut(long unit, long limit)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(unit);
        var start = Offset / unit * unit;
        var end = End % unit == 0 ? End : checked((End / unit + 1) * unit);
        return FromBounds(Math.Min(start, limit), Math.Min(end, limit));
    }

    public override string ToString() => $"[{Offset}, {End})";
}
