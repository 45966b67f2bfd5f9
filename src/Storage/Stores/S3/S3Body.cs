// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage;

/// <summary>Ends a request when no byte moved for a time: no fixed limit fits both a tombstone and a pack over a slow line.</summary>
internal sealed class StallGuard : IDisposable
{
    private readonly TimeSpan _time;
    private readonly CancellationToken _caller;
    private readonly CancellationTokenSource _stop;

    public StallGuard(TimeSpan time, CancellationToken caller)
    {
        (_time, _caller) = (time, caller);
        _stop = CancellationTokenSource.CreateLinkedTokenSource(caller);
        _stop.CancelAfter(time);
    }

    public CancellationToken Token => _stop.Token;

    /// <summary>Whether the caller wants no answer any more.</summary>
    public bool IsGivenUp => _caller.IsCancellationRequested;

    public void Moved() => _stop.CancelAfter(_time);

    /// <summary>Waits for a turn without that counting as a stall.</summary>
    public async ValueTask PaceAsync(RateLimit? limit, long bytes)
    {
        if (limit is null)
            return;
        _stop.CancelAfter(Timeout.InfiniteTimeSpan);
        await limit.TakeAsync(bytes, _stop.Token);
        Moved();
    }

    public void Dispose() => _stop.Dispose();
}

/// <summary>
/// The body of a PUT, from memory or from a file, read as the network takes it: paced, and every part taken counts as movement. The SDK
/// may read it more than once. Owns neither file nor guard.
/// </summary>
internal sealed class S3Body(ReadOnlyMemory<byte> content, SafeFileHandle? file, long length, StallGuard guard, RateLimit? limit) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => length;

    public override long Position { get; set; }

    public override int Read(byte[] buffer, int offset, int count) => ReadAt(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer) => ReadAt(buffer);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var wanted = limit is null ? buffer : buffer[..Math.Min(buffer.Length, limit.Slice)];
        var read = ReadAt(wanted.Span); // from the page cache
        await guard.PaceAsync(limit, read);
        guard.Moved();
        return read;
    }

    public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
    {
        SeekOrigin.Begin => offset,
        SeekOrigin.Current => Position + offset,
        _ => length + offset,
    };

    public override void Flush()
    {
        // Nothing is written.
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private int ReadAt(Span<byte> target)
    {
        var count = (int)Math.Min(target.Length, Math.Max(0, length - Position));
        if (file is null)
            content.Span.Slice((int)Position, count).CopyTo(target);
        else
            count = RandomAccess.Read(file, target[..count], Position);
        Position += count;
        return count;
    }
}
