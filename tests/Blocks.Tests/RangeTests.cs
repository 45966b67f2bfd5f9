// SPDX-License-Identifier: Apache-2.0

namespace Tidemark.Blocks.Tests;

public sealed class RangeTests
{
    [Theory]
    [InlineData(-1, 0)]
    [InlineData(0, -1)]
    [InlineData(long.MaxValue, 1)]
    public void BoundsThatMakeNoRange_AreRefused(long offset, long length) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new ByteRange(offset, length));

    [Theory]
    [InlineData(5, 10, 4, 100, 4, 16)]
    [InlineData(4, 8, 4, 100, 4, 12)]
    [InlineData(90, 9, 64, 99, 64, 99)]
    public void AlignOut_CoversAndIsCutAtTheLimit(long offset, long length, long unit, long limit, long start, long end) =>
        Assert.Equal(ByteRange.FromBounds(start, end), new ByteRange(offset, length).AlignOut(unit, limit));

    [Fact]
    public void Intersect_OfRangesThatOnlyTouch_IsEmpty() =>
        Assert.True(new ByteRange(0, 10).Intersect(new ByteRange(10, 10)).IsEmpty);

    [Fact]
    public void Set_MergesTouchingAndOverlappingRanges()
    {
        var set = new RangeSet { new(0, 10), new(10, 5), new(12, 2), new(20, 1) };
        Assert.Equal([new ByteRange(0, 15), new ByteRange(20, 1)], set);
        Assert.Equal(16, set.TotalLength);
    }

    [Fact]
    public void Set_RefusesRangesOutOfOrder() =>
        Assert.Throws<ArgumentException>(() => new RangeSet { new(10, 5), new(0, 2) });

    [Fact]
    public void AlignedSet_HasTheSameBytesAsAligningEachByte()
    {
        var random = new Random(7);
        var set = new RangeSet();
        var expected = new bool[1000];
        for (var at = 0; at < 950; at += random.Next(1, 60))
        {
            var length = random.Next(1, 40);
            set.Add(new ByteRange(at, Math.Min(length, 990 - at)));
            for (var unit = at / 16; unit <= (Math.Min(at + length, 990) - 1) / 16; unit++)
                Array.Fill(expected, true, unit * 16, Math.Min(16, 990 - unit * 16));
        }

        var aligned = set.AlignOut(16, 990);
        Assert.Equal(expected.Count(x => x), aligned.TotalLength);
        Assert.All(aligned, range => Assert.True(expected[range.Offset] && expected[range.End - 1]));
    }
}
