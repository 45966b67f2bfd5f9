// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>
/// One connection to one export, in the transmission phase. Calls may come from anywhere at once: requests are sent in turn, up to
/// <see cref="NbdClientOptions.Depth"/> are in flight, one loop reads the replies. Each call is exactly one request, so it must fit
/// <see cref="NbdExport.BlockSizes"/>; <see cref="NbdBlockSource"/> and <see cref="NbdBlockTarget"/> split and align.
/// </summary>
/// <remarks>
/// A refused request throws <see cref="NbdRequestException"/> and leaves the connection usable, and so does cancellation. Anything
/// else ends the connection: the first reason counts, and every call in flight and every later one throws it, as
/// <see cref="NbdProtocolException"/> or <see cref="NbdConnectionClosedException"/>.
/// A write that is being sent is sent to its end before its cancellation takes effect.
/// </remarks>
public sealed class NbdConnection : IAsyncDisposable
{
    // Payload up to this is sent in one piece with its header.
    private const int SmallPayload = 16 * 1024;

    // What a waiter is woken with when the connection ends: more than can ever wait.
    private const int WakeAll = 1 << 20;

    private static readonly TimeSpan _farewellTime = TimeSpan.FromSeconds(1);

    private readonly NbdUri _uri;
    private readonly NbdClientOptions _options;
    private readonly Transport _transport;
    private readonly IReadOnlyList<MetaContext> _contexts;
    private readonly PendingTable _pending;
    private readonly SemaphoreSlim _depth;
    private readonly SemaphoreSlim _sendTurn = new(1);
    private readonly byte[] _sendBuffer = new byte[NbdRequestHeader.Size + SmallPayload];
    private readonly ReplyReader _reader;
    private readonly Task _reading;
    private readonly ITimer _watch;
    private long _lastProgress;
    private int _isDisposed;
    private NbdException? _reason;

    internal NbdConnection(NbdUri uri, Negotiated negotiated, NbdClientOptions options)
    {
        _uri = uri;
        _options = options;
        _transport = negotiated.Transport;
        _contexts = negotiated.Contexts;
        Export = negotiated.Export;
        _pending = new PendingTable(options.Depth);
        _depth = new SemaphoreSlim(options.Depth);
        _reader = new ReplyReader(_transport, _pending, Export.HasStructuredReplies, NoteProgress, () => _depth.Release());
        NoteProgress();
        _watch = options.Clock.CreateTimer(_ => CheckProgress(), null, options.RequestTimeout / 4, options.RequestTimeout / 4);
        _reading = OwnThread.RunAsync(_transport.IsBlocking, ReadRepliesAsync);
    }

    public NbdExport Export { get; }

    /// <summary>Requests sent and not yet answered to the end.</summary>
    public int InFlight => _pending.Count;

    /// <summary>NBD_CMD_READ: fills the buffer.</summary>
    public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var range = CheckedRange(offset, buffer.Length, Export.BlockSizes.Maximum);
        return range.IsEmpty
            ? ValueTask.CompletedTask
            : RunAsync(NbdCommand.Read, NbdCommandFlags.None, range, buffer, default, null, cancellationToken);
    }

    /// <summary>NBD_CMD_WRITE; with <paramref name="isDurable"/>, the bytes are on stable storage when the call ends (FUA).</summary>
    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> buffer, bool isDurable, CancellationToken cancellationToken)
    {
        var range = CheckedRange(offset, buffer.Length, Export.BlockSizes.Maximum);
        RequireWritable();
        return range.IsEmpty
            ? ValueTask.CompletedTask
            : RunAsync(NbdCommand.Write, Durability(isDurable), range, default, buffer, null, cancellationToken);
    }

    /// <summary>
    /// NBD_CMD_WRITE_ZEROES. Flags: <see cref="NbdCommandFlags.NoHole"/> keeps the range allocated, <see cref="NbdCommandFlags.FastZero"/>
    /// is refused with <see cref="NbdError.NotSupported"/> where it would not be faster than writing, and
    /// <see cref="NbdCommandFlags.ForceUnitAccess"/>.
    /// </summary>
    public ValueTask WriteZeroesAsync(ByteRange range, NbdCommandFlags flags, CancellationToken cancellationToken)
    {
        CheckedRange(range.Offset, range.Length, uint.MaxValue);
        RequireWritable();
        Require(NbdTransmissionFlags.WriteZeroes, "to write zeroes");
        if (flags.HasFlag(NbdCommandFlags.FastZero))
            Require(NbdTransmissionFlags.FastZero, "to write zeroes fast or not at all");
        flags &= NbdCommandFlags.NoHole | NbdCommandFlags.FastZero | Durability(flags.HasFlag(NbdCommandFlags.ForceUnitAccess));
        return range.IsEmpty
            ? ValueTask.CompletedTask
            : RunAsync(NbdCommand.WriteZeroes, flags, range, default, default, null, cancellationToken);
    }

    /// <summary>NBD_CMD_TRIM: the range is no longer needed; what it reads as afterwards is not defined.</summary>
    public ValueTask TrimAsync(ByteRange range, CancellationToken cancellationToken)
    {
        CheckedRange(range.Offset, range.Length, uint.MaxValue);
        RequireWritable();
        Require(NbdTransmissionFlags.Trim, "to trim");
        return range.IsEmpty
            ? ValueTask.CompletedTask
            : RunAsync(NbdCommand.Trim, NbdCommandFlags.None, range, default, default, null, cancellationToken);
    }

    /// <summary>NBD_CMD_FLUSH: returns when all writes that were answered before are on stable storage.</summary>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Require(NbdTransmissionFlags.Flush, "to flush");
        return RunAsync(NbdCommand.Flush, NbdCommandFlags.None, default, default, default, null, cancellationToken);
    }

    /// <summary>NBD_CMD_CACHE: the range will be read soon.</summary>
    public ValueTask CacheAsync(ByteRange range, CancellationToken cancellationToken)
    {
        CheckedRange(range.Offset, range.Length, Export.BlockSizes.Maximum);
        Require(NbdTransmissionFlags.Cache, "to cache");
        return range.IsEmpty
            ? ValueTask.CompletedTask
            : RunAsync(NbdCommand.Cache, NbdCommandFlags.None, range, default, default, null, cancellationToken);
    }

    /// <summary>
    /// NBD_CMD_BLOCK_STATUS: what each negotiated context says from the start of the range on. An answer may end before the range
    /// does, at another place for each context; ask on from there.
    /// </summary>
    /// <remarks>
    /// The range is not empty and at most <see cref="NbdLimits.MaxStatusLength"/> long. With <paramref name="isOneExtent"/>, the answer
    /// is just the first extent (NBD_CMD_FLAG_REQ_ONE).
    /// </remarks>
    public async ValueTask<IReadOnlyList<NbdContextStatus>> BlockStatusAsync(
        ByteRange range, bool isOneExtent, CancellationToken cancellationToken)
    {
        CheckedRange(range.Offset, range.Length, NbdLimits.MaxStatusLength);
        ArgumentOutOfRangeException.ThrowIfZero(range.Length, nameof(range));
        if (_contexts.Count == 0)
            throw new NbdRequestException(NbdError.NotSupported, $"Export '{Export.Name}' has no meta context on this connection.");
        var status = new StatusCollector(_contexts, range, Export, isOneExtent);
        var flags = isOneExtent ? NbdCommandFlags.RequestOne : NbdCommandFlags.None;
        await RunAsync(NbdCommand.BlockStatus, flags, range, default, default, status, cancellationToken);
        return status.Finish();
    }

    /// <summary>Says goodbye (NBD_CMD_DISC) and closes; requests still in flight fail.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            await SayGoodbyeAsync();
            Abort(new NbdConnectionClosedException($"Connection to '{_uri}' was closed by its owner."));
            await _watch.DisposeAsync();
        }

        await _reading;
    }

    private async ValueTask RunAsync(
        NbdCommand command,
        NbdCommandFlags flags,
        ByteRange range,
        Memory<byte> target,
        ReadOnlyMemory<byte> payload,
        StatusCollector? status,
        CancellationToken cancellationToken)
    {
        var request = new PendingRequest(command, range, target, status);
        await _depth.WaitAsync(cancellationToken);
        var isSent = false;
        try
        {
            await _sendTurn.WaitAsync(cancellationToken);
            try
            {
                var cookie = _pending.Add(request);
                isSent = true;
                NoteProgress();
                await SendAsync(new NbdRequestHeader(flags, command, cookie, (ulong)range.Offset, (uint)range.Length), payload);
            }
            catch (Exception e) when (e is SocketException or IOException and not NbdException or ObjectDisposedException)
            {
                // The reader ends with the socket and completes the request, with whatever reason came first.
                Abort(new NbdConnectionClosedException($"Connection to '{_uri}' failed: {e.Message.TrimEnd('.')}.", e));
            }
            finally
            {
                _sendTurn.Release();
            }
        }
        finally
        {
            if (!isSent)
                _depth.Release();
        }

        await using var registration = cancellationToken.UnsafeRegister(
            static (state, token) =>
            {
                var (connection, abandoned) = ((NbdConnection, PendingRequest))state!;
                if (abandoned.Abandon(token))
                    connection._reader.Kick();
            },
            cancellationToken.CanBeCanceled ? (this, request) : null);
        await request.Task;
    }

    // Caller holds _sendTurn. Never cancelled midway: half a request would end the connection.
    private async ValueTask SendAsync(NbdRequestHeader header, ReadOnlyMemory<byte> payload)
    {
        header.Write(_sendBuffer);
        if (payload.Length <= SmallPayload)
        {
            payload.CopyTo(_sendBuffer.AsMemory(NbdRequestHeader.Size));
            await _transport.SendAsync(_sendBuffer.AsMemory(0, NbdRequestHeader.Size + payload.Length), CancellationToken.None);
            return;
        }

        await _transport.SendAsync(_sendBuffer.AsMemory(0, NbdRequestHeader.Size), CancellationToken.None);
        while (!payload.IsEmpty)
        {
            payload = payload[await _transport.SendSomeAsync(payload, CancellationToken.None)..];
            NoteProgress();
        }
    }

    private async Task ReadRepliesAsync()
    {
        try
        {
            await _reader.RunAsync();
            Abort(new NbdConnectionClosedException($"Server closed the connection to '{_uri}'."));
        }
        catch (NbdException e)
        {
            Abort(e);
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
        {
            Abort(new NbdConnectionClosedException($"Connection to '{_uri}' failed: {e.Message.TrimEnd('.')}.", e));
        }
        finally
        {
            // Here no receive into a caller's buffer is under way any more, so its call may end.
            _pending.Close(Reason);
            _depth.Release(WakeAll);
        }
    }

    /// <summary>Ends the connection; only the first reason counts. The reader notices the closed socket and fails the requests.</summary>
    private void Abort(NbdException reason)
    {
        if (Interlocked.CompareExchange(ref _reason, reason, null) is null)
            _transport.Dispose();
    }

    // A new exception for each call: one instance thrown in many places mixes up their stack traces.
    private Exception Reason() => _reason switch
    {
        NbdProtocolException e => new NbdProtocolException(e.Message),
        { } e => new NbdConnectionClosedException(e.Message, e.InnerException),
        null => new NbdConnectionClosedException($"Connection to '{_uri}' ended."),
    };

    private void NoteProgress() => Volatile.Write(ref _lastProgress, _options.Clock.GetTimestamp());

    private void CheckProgress()
    {
        if (_pending.Count > 0 && _options.Clock.GetElapsedTime(Volatile.Read(ref _lastProgress)) >= _options.RequestTimeout)
            Abort(new NbdConnectionClosedException(
                $"'{_uri}' moved no byte for {_options.RequestTimeout.TotalSeconds:0.###} s with requests in flight."));
    }

    private async ValueTask SayGoodbyeAsync()
    {
        if (_reason is not null || !await _sendTurn.WaitAsync(_farewellTime))
            return;
        try
        {
            using var limit = new CancellationTokenSource(_farewellTime);
            new NbdRequestHeader(NbdCommandFlags.None, NbdCommand.Disconnect, 0, 0, 0).Write(_sendBuffer);
            await _transport.SendAsync(_sendBuffer.AsMemory(0, NbdRequestHeader.Size), limit.Token);
            await _transport.FinishSendingAsync();
            // The server closes in turn; waiting for it leaves nothing of ours behind when this call ends.
            if (_pending.Count == 0)
                await _reading.WaitAsync(limit.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException or OperationCanceledException)
        {
            // It is gone already, or too slow for a goodbye: the socket is closed either way.
        }
        finally
        {
            _sendTurn.Release();
        }
    }

    private ByteRange CheckedRange(long offset, long length, long longest)
    {
        var range = new ByteRange(offset, length);
        if (range.End > Export.Size)
            throw new ArgumentOutOfRangeException(
                nameof(offset), $"Range {range} ends beyond export '{Export.Name}' of {Export.Size} bytes.");
        if (length > longest)
            throw new ArgumentOutOfRangeException(nameof(length), $"Length {length} is more than the {longest} bytes of one request.");
        var unit = Export.BlockSizes.Minimum;
        if (offset % unit != 0 || (range.End % unit != 0 && range.End != Export.Size))
            throw new ArgumentOutOfRangeException(nameof(offset), $"Range {range} is not made of whole blocks of {unit} bytes.");
        return range;
    }

    private void RequireWritable()
    {
        if (Export.IsReadOnly)
            throw new NbdRequestException(NbdError.NotPermitted, $"Export '{Export.Name}' is read-only.");
    }

    private void Require(NbdTransmissionFlags flag, string what)
    {
        if (!Export.Has(flag))
            throw new NbdRequestException(NbdError.NotSupported, $"Export '{Export.Name}' does not offer {what}.");
    }

    private NbdCommandFlags Durability(bool isDurable)
    {
        if (!isDurable)
            return NbdCommandFlags.None;
        Require(NbdTransmissionFlags.ForceUnitAccess, "to write through to stable storage");
        return NbdCommandFlags.ForceUnitAccess;
    }
}
