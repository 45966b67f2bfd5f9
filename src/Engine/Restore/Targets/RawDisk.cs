// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Microsoft.Win32.SafeHandles;
using Tidemark.Blocks;
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>
/// A raw image file or a block device, read or written in place. Owns its handles: of two on the same file the direct one goes past the
/// page cache, and takes the whole, aligned pieces; their ends and what such a file system refuses go through the other.
/// </summary>
internal sealed class RawDisk(SafeFileHandle handle, SafeFileHandle? direct, long size, bool isBlock) : IBlockSource, IBlockTarget
{
    private static readonly byte[] Zeroes = new byte[1 << 20];
    private volatile SafeFileHandle? _direct = direct is not null && DirectIo.TrySet(direct, isDirect: true) ? direct : null;

    public long Size => size;

    public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (buffer.Length > 0)
        {
            var read = Read(offset, buffer.Span);
            if (read == 0)
                throw new EndOfStreamException($"The image ends at byte {offset}; {size} bytes were expected.");
            buffer = buffer[read..];
            offset += read;
        }

        return ValueTask.CompletedTask;
    }

    public async IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.CompletedTask;
        var at = range.Offset;
        while (at < range.End)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var data = isBlock ? at : Math.Min(FileCalls.NextData(handle, at) ?? range.End, range.End);
            if (data > at)
                yield return new Extent(ByteRange.FromBounds(at, data), ExtentKind.Zero);
            if (data >= range.End)
                yield break;
            at = isBlock ? range.End : Math.Min(FileCalls.NextHole(handle, data), range.End);
            yield return new Extent(ByteRange.FromBounds(data, at), ExtentKind.Data);
        }
    }

    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        Write(offset, buffer.Span);
        return ValueTask.CompletedTask;
    }

    public ValueTask ZeroAsync(ByteRange range, CancellationToken cancellationToken)
    {
        // In pieces: zeroing a whole device in one call cannot be interrupted.
        const long piece = 1L << 30;
        for (var at = range.Offset; at < range.End; at += piece)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var part = ByteRange.FromBounds(at, Math.Min(range.End, at + piece));
            if (FileCalls.TryZero(handle, part.Offset, part.Length))
                continue;
            for (var to = part.Offset; to < part.End; to += Zeroes.Length)
                RandomAccess.Write(handle, Zeroes.AsSpan(0, (int)Math.Min(Zeroes.Length, part.End - to)), to);
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        RandomAccess.FlushToDisk(handle);
        FileCalls.DropCache(handle);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync()
    {
        handle.Dispose();
        direct?.Dispose();
        return ValueTask.CompletedTask;
    }

    private int Read(long offset, Span<byte> buffer)
    {
        if (_direct is { } past && DirectIo.Fits(offset, buffer))
        {
            try
            {
                return RandomAccess.Read(past, buffer, offset);
            }
            catch (IOException failure) when (DirectIo.IsRefusal(failure))
            {
                _direct = null;
            }
        }

        return RandomAccess.Read(handle, buffer, offset);
    }

    private void Write(long offset, ReadOnlySpan<byte> buffer)
    {
        if (_direct is { } past && DirectIo.Fits(offset, buffer))
        {
            try
            {
                RandomAccess.Write(past, buffer, offset);
                return;
            }
            catch (IOException failure) when (DirectIo.IsRefusal(failure))
            {
                _direct = null;
            }
        }

        RandomAccess.Write(handle, buffer, offset);
    }
}
