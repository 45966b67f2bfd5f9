// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.TestKit;

/// <summary>A disk in memory, both source and target; runs of zero bytes of at least a page are reported as zero extents.</summary>
public sealed class MemoryDisk(byte[] bytes) : IBlockSource, IBlockTarget
{
    private const int Page = 4096;

    public byte[] Bytes { get; } = bytes;

    public long Size => Bytes.Length;

    public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Bytes.AsSpan(checked((int)offset), buffer.Length).CopyTo(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public async IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.CompletedTask;
        var start = range.Offset;
        while (start < range.End)
        {
            var end = Math.Min(range.End, (start / Page + 1) * Page);
            var kind = KindOf(start, end);
            while (end < range.End && KindOf(end, Math.Min(range.End, end + Page)) == kind)
                end = Math.Min(range.End, end + Page);
            yield return new Extent(ByteRange.FromBounds(start, end), kind);
            start = end;
        }
    }

    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        buffer.Span.CopyTo(Bytes.AsSpan(checked((int)offset)));
        return ValueTask.CompletedTask;
    }

    public ValueTask ZeroAsync(ByteRange range, CancellationToken cancellationToken)
    {
        Bytes.AsSpan(checked((int)range.Offset), checked((int)range.Length)).Clear();
        return ValueTask.CompletedTask;
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private ExtentKind KindOf(long start, long end) =>
        Bytes.AsSpan((int)start, (int)(end - start)).IndexOfAnyExcept((byte)0) < 0 ? ExtentKind.Zero : ExtentKind.Data;
}
