// SPDX-License-Identifier: Apache-2.0

namespace Tidemark.Blocks.Tests;

public sealed class DirectIoTests
{
    [Fact]
    public void WriteAndRead_PastTheCache_KeepTheBytes()
    {
        var path = Path.Combine(AppContext.BaseDirectory, $"direct-{Guid.NewGuid():n}");
        try
        {
            using var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite);
            using var written = AlignedPool.Rent(1 << 20);
            new Random(1).NextBytes(written.Memory.Span);
            var isDirect = DirectIo.TrySet(file, isDirect: true);
            RandomAccess.Write(file, written.Memory.Span, 0);
            using var read = AlignedPool.Rent(1 << 20);
            Assert.Equal(1 << 20, RandomAccess.Read(file, read.Memory.Span, 0));
            Assert.True(read.Memory.Span.SequenceEqual(written.Memory.Span));

            // A piece that does not fit is refused as such where the switch worked, and goes through once it is off.
            var odd = written.Memory[..1000];
            Assert.False(DirectIo.Fits(1 << 20, odd.Span));
            var refused = Record.Exception(() => RandomAccess.Write(file, odd.Span, 1 << 20));
            Assert.True(refused is null || (isDirect && DirectIo.IsRefusal((IOException)refused)));
            Assert.Equal(isDirect, DirectIo.TrySet(file, isDirect: false));
            RandomAccess.Write(file, odd.Span, 1 << 20);
            Assert.Equal((1 << 20) + 1000, RandomAccess.GetLength(file));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4096)]
    [InlineData(65536)]
    [InlineData((1 << 20) + 1)]
    public void RentedBuffers_AreAligned_AndNobodyElses(int length)
    {
        var buffers = Enumerable.Range(0, 40).Select(_ => AlignedPool.Rent(length)).ToList();
        for (var i = 0; i < buffers.Count; i++)
        {
            Assert.Equal(length, buffers[i].Memory.Length);
            Assert.True(length < 4096 || DirectIo.Fits(0, buffers[i].Memory.Span[..4096]));
            buffers[i].Memory.Span.Fill((byte)i);
        }

        for (var i = 0; i < buffers.Count; i++)
        {
            Assert.Equal(-1, buffers[i].Memory.Span.IndexOfAnyExcept((byte)i));
            buffers[i].Dispose();
            buffers[i].Dispose(); // twice gives it back once
            Assert.Throws<ObjectDisposedException>(() => buffers[i].Memory);
        }

        using var first = AlignedPool.Rent(length);
        using var second = AlignedPool.Rent(length);
        first.Memory.Span.Clear();
        second.Memory.Span.Fill(1);
        Assert.Equal(-1, first.Memory.Span.IndexOfAnyExcept((byte)0));
    }
}
