// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Tidemark.Nbd;

/// <summary>
/// The one reader of a connection: takes replies off the transport, finds their requests, and moves read data straight from the
/// socket into the caller's buffer. Whatever it throws is the end of the connection.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A kick may come at any time, and a source without a timer holds nothing.")]
internal sealed class ReplyReader(Transport transport, PendingTable pending, bool isStructured, Action onProgress, Action onReleased)
{
    // Headers and the start of the data behind them. TLS data is decrypted by records of 16 KiB and always goes through here.
    private readonly byte[] _buffer = new byte[transport.CanCancelReceive ? 4096 : 65536];
    private int _start;
    private int _end;
    private CancellationTokenSource _kick = new();

    /// <summary>Ends a receive into a caller's buffer; the reader goes on at once.</summary>
    public void Kick() => Volatile.Read(ref _kick).Cancel();

    /// <summary>Runs until the stream ends between two replies.</summary>
    public async Task RunAsync()
    {
        while (_end > _start || await ReceiveAsync())
        {
            await EnsureAsync(4);
            var magic = BinaryPrimitives.ReadUInt32BigEndian(_buffer.AsSpan(_start));
            if (magic == NbdMagic.SimpleReply)
                await TakeSimpleAsync();
            else if (magic == NbdMagic.StructuredReply && isStructured)
                await TakeChunkAsync();
            else
                throw new NbdProtocolException(
                    $"Server sent a reply with magic '{magic:x8}'; '{NbdMagic.SimpleReply:x8}'"
                    + $"{(isStructured ? $" or '{NbdMagic.StructuredReply:x8}'" : "")} is required.");
        }
    }

    private async ValueTask TakeSimpleAsync()
    {
        var header = NbdSimpleReply.Read((await TakeAsync(NbdSimpleReply.Size)).Span);
        var request = pending.Find(header.Cookie);
        if (header.Error != NbdError.None)
        {
            request.Refuse(header.Error, "");
        }
        else if (request.Command == NbdCommand.BlockStatus || (request.Command == NbdCommand.Read && isStructured))
        {
            throw new NbdProtocolException($"Server sent a simple reply to '{request.Command}'; a structured one is required.");
        }
        else if (request.Command == NbdCommand.Read)
        {
            request.Cover((ulong)request.Range.Offset, request.Range.Length);
            await FillAsync(request, 0, (int)request.Range.Length);
        }

        Finish(request, header.Cookie);
    }

    private async ValueTask TakeChunkAsync()
    {
        var header = NbdChunkHeader.Read((await TakeAsync(NbdChunkHeader.Size)).Span);
        var request = pending.Find(header.Cookie);
        switch (header.Type)
        {
            case NbdChunkType.None:
                Require(header.Length == 0 && header.IsDone, header, "it is empty and the last");
                break;
            case NbdChunkType.OffsetData:
                Require(request.Command == NbdCommand.Read && header.Length > 8, header, "it answers a read with data");
                await TakeDataAsync(request, header.Length - 8);
                break;
            case NbdChunkType.OffsetHole:
                Require(request.Command == NbdCommand.Read && header.Length == 12, header, "it answers a read with 12 bytes");
                TakeHole(request, (await TakeAsync(12)).Span);
                break;
            case NbdChunkType.BlockStatus:
                Require(
                    request.Command == NbdCommand.BlockStatus && header.Length >= 12 && header.Length % 8 == 4
                        && header.Length <= NbdLimits.MaxStatusPayload,
                    header, "it answers a status request with 4 + n * 8 bytes");
                await TakeStatusAsync(request, (int)header.Length);
                break;
            default:
                Require(header.IsError, header, "the type is known");
                await TakeErrorAsync(request, header);
                break;
        }

        if (header.IsDone)
            Finish(request, header.Cookie);
    }

    private async ValueTask TakeDataAsync(PendingRequest request, uint length)
    {
        var offset = BinaryPrimitives.ReadUInt64BigEndian((await TakeAsync(8)).Span);
        await FillAsync(request, request.Cover(offset, length), (int)length);
    }

    private static void TakeHole(PendingRequest request, ReadOnlySpan<byte> payload)
    {
        var length = BinaryPrimitives.ReadUInt32BigEndian(payload[8..]);
        request.Clear(request.Cover(BinaryPrimitives.ReadUInt64BigEndian(payload), length), (int)length);
    }

    private async ValueTask TakeStatusAsync(PendingRequest request, int length)
    {
        var payload = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            await CopyAsync(payload.AsMemory(0, length));
            request.Status!.Add(payload.AsSpan(0, length));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(payload);
        }
    }

    // error u32 | text length u16 | text, then an offset u64 when the type is ERROR_OFFSET
    private async ValueTask TakeErrorAsync(PendingRequest request, NbdChunkHeader header)
    {
        const int Fixed = 4 + 2;
        var rest = header.Type == NbdChunkType.ErrorOffset ? 8 : 0;
        var isSound = header.Length >= Fixed + rest && header.Length <= Fixed + NbdLimits.MaxStringLength + 8;
        Require(isSound, header, "an error has 6 to 4110 bytes");
        var payload = new byte[header.Length];
        await CopyAsync(payload);
        var error = (NbdError)BinaryPrimitives.ReadUInt32BigEndian(payload);
        var textLength = BinaryPrimitives.ReadUInt16BigEndian(payload.AsSpan(4));
        Require(error != NbdError.None && textLength <= header.Length - Fixed - rest, header, "it has an error number and its whole text");
        request.Refuse(error, Encoding.UTF8.GetString(payload.AsSpan(Fixed, textLength)));
    }

    private void Finish(PendingRequest request, ulong cookie)
    {
        request.Complete();
        pending.Remove(cookie);
        onReleased();
    }

    /// <summary>Moves data into the caller's buffer, or into nowhere once the caller is gone.</summary>
    private async ValueTask FillAsync(PendingRequest request, int at, int length)
    {
        while (length > 0)
        {
            int count;
            if (_end == _start && transport.CanCancelReceive && request.TryBorrow(at, length, out var part))
            {
                count = await ReceiveIntoAsync(request, part);
            }
            else
            {
                await EnsureAsync(1);
                count = Math.Min(length, _end - _start);
                request.Copy(_buffer.AsSpan(_start, count), at);
                _start += count;
            }

            at += count;
            length -= count;
        }
    }

    private async ValueTask<int> ReceiveIntoAsync(PendingRequest request, Memory<byte> part)
    {
        try
        {
            var count = await transport.ReceiveAsync(part, _kick.Token);
            if (count == 0)
                throw Truncated();
            onProgress();
            return count;
        }
        catch (OperationCanceledException)
        {
            // A cancelled receive has taken no byte off the socket. The new source is in place before any buffer is lent again.
            Volatile.Write(ref _kick, new CancellationTokenSource());
            return 0;
        }
        finally
        {
            request.Return();
        }
    }

    private async ValueTask CopyAsync(Memory<byte> target)
    {
        while (!target.IsEmpty)
        {
            await EnsureAsync(1);
            var count = Math.Min(target.Length, _end - _start);
            _buffer.AsSpan(_start, count).CopyTo(target.Span);
            _start += count;
            target = target[count..];
        }
    }

    /// <summary>The next bytes of the stream, valid until the next receive; at most the buffer's size.</summary>
    private async ValueTask<ReadOnlyMemory<byte>> TakeAsync(int count)
    {
        if (_end - _start < count)
            await EnsureAsync(count);
        var taken = _buffer.AsMemory(_start, count);
        _start += count;
        return taken;
    }

    private async ValueTask EnsureAsync(int count)
    {
        while (_end - _start < count)
        {
            if (!await ReceiveAsync())
                throw Truncated();
        }
    }

    /// <summary>Receives what there is, at least one byte; false at the end of the stream.</summary>
    private async ValueTask<bool> ReceiveAsync()
    {
        if (_start == _end)
        {
            _start = _end = 0;
        }
        else if (_start > _buffer.Length / 2)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        var count = await transport.ReceiveAsync(_buffer.AsMemory(_end), CancellationToken.None);
        _end += count;
        onProgress();
        return count > 0;
    }

    private static NbdProtocolException Truncated() => new("Server closed the connection in the middle of a reply.");

    private static void Require(bool condition, NbdChunkHeader header, string rule)
    {
        if (!condition)
            throw new NbdProtocolException(
                $"Server sent a chunk of type '{header.Type}' with {header.Length} bytes, against the rule that {rule}.");
    }
}
