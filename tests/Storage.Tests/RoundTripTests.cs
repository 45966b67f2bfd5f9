// SPDX-License-Identifier: Apache-2.0
using Tidemark.TestKit;

namespace Tidemark.Storage.Tests;

public sealed class RoundTripTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(65_535)]
    [InlineData(65_536)]
    [InlineData(65_537)]
    [InlineData(4 << 20)]
    [InlineData((9 << 20) + 12_345)]
    public async Task DiskOfAnySize_ComesBackExactly(int size)
    {
        var store = new MemoryStore();
        using var repository = await Fixture.InitAsync(store);
        var content = Fixture.Content(new Random(size), size);
        var point = await Fixture.BackUpAsync(repository, content);
        using var again = await Fixture.OpenAsync(store);
        var listed = Assert.Single((await again.ListPointsAsync(null, Fixture.Token)).Points);
        Assert.Equal(point.Id, listed.Id);
        await Fixture.AssertHoldsAsync(again, listed.Disk("vda"), content);
    }

    [Theory]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(18)]
    [InlineData(19)]
    [InlineData(20)]
    [InlineData(22)]
    public async Task EveryChunkSize_ComesBackExactly(int chunkLog2)
    {
        using var repository = await Fixture.InitAsync(new MemoryStore(), encrypted: chunkLog2 % 2 == 0);
        var content = Fixture.Content(new Random(chunkLog2), (10 << 20) + 777);
        var point = await Fixture.BackUpAsync(repository, content, chunkLog2: chunkLog2);
        await Fixture.AssertHoldsAsync(repository, point.Disk("vda"), content);
    }

    [Fact]
    public async Task SeriesOfRandomChangesAndSizes_EveryPointComesBackExactly()
    {
        var seed = Seed.Choose(20_260_101);
        var random = new Random(seed);
        using var repository = await Fixture.InitAsync(new MemoryStore());
        var content = Fixture.Content(random, 6 << 20);
        var point = await Fixture.BackUpAsync(repository, content);
        var series = new List<(RestorePoint Point, byte[] Content)> { (point, content) };
        for (var round = 0; round < 12; round++)
        {
            content = Resize(content, random);
            var changed = Change(content, random);
            point = await Fixture.BackUpAsync(repository, content, point, changed);
            series.Add((point, content));
        }

        TestContext.Current.SendDiagnosticMessage($"seed {seed}");
        for (var i = 0; i < series.Count; i++)
        {
            Assert.Equal(i + 1, series[i].Point.Seq);
            await Fixture.AssertHoldsAsync(repository, series[i].Point.Disk("vda"), series[i].Content);
        }
    }

    // A grown disk crosses depths: 64 chunks of 64 KiB are one level, more are two.
    private static byte[] Resize(byte[] content, Random random)
    {
        var size = random.Next(4) switch { 0 => random.Next(1, 9 << 20), 1 => content.Length + random.Next(100_000), _ => content.Length };
        var resized = new byte[size];
        content.AsSpan(0, Math.Min(size, content.Length)).CopyTo(resized);
        return resized;
    }

    private static SortedSet<long> Change(byte[] content, Random random)
    {
        var changed = new SortedSet<long>();
        for (var i = random.Next(12); i > 0; i--)
        {
            var offset = random.Next(content.Length);
            var part = content.AsSpan(offset, Math.Min(random.Next(1, 150_000), content.Length - offset));
            if (random.Next(3) == 0)
                part.Clear();
            else
                random.NextBytes(part);
            for (var chunk = offset >> 16; chunk <= (offset + part.Length - 1) >> 16; chunk++)
                changed.Add(chunk);
        }

        return changed;
    }
}
