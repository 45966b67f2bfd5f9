// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>
/// A request on its way, from before it is sent until its reply has been read to the end. The caller awaits the task; the reader
/// fills the buffer. A caller that cancels goes on at once, except while a receive into its buffer is under way: then it waits
/// until the reader has let go, which a kick of the reader hastens. The rest of the reply is read into nowhere.
/// </summary>
internal sealed class PendingRequest(NbdCommand command, ByteRange range, Memory<byte> buffer, StatusCollector? status)
    : TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
{
    private readonly Lock _gate = new();
    private ReadCoverage _coverage;
    private NbdRequestException? _error;
    private bool _isBorrowed;
    private CancellationToken? _abandonedBy;

    public NbdCommand Command => command;

    public ByteRange Range => range;

    public StatusCollector? Status => status;

    /// <summary>The caller no longer wants the result. True when the reader holds the buffer and should be kicked.</summary>
    public bool Abandon(CancellationToken token)
    {
        lock (_gate)
        {
            _abandonedBy = token;
            if (_isBorrowed)
                return true;
            TrySetCanceled(token);
            return false;
        }
    }

    /// <summary>Lends a part of the buffer for a receive; false when the caller is gone.</summary>
    public bool TryBorrow(int start, int length, out Memory<byte> part)
    {
        lock (_gate)
        {
            part = default;
            if (_abandonedBy is not null)
                return false;
            _isBorrowed = true;
            part = buffer.Slice(start, length);
            return true;
        }
    }

    /// <summary>Gives the buffer back; a caller that has cancelled meanwhile goes on now.</summary>
    public void Return()
    {
        lock (_gate)
        {
            _isBorrowed = false;
            if (_abandonedBy is { } token)
                TrySetCanceled(token);
        }
    }

    /// <summary>Copies into the buffer, unless the caller is gone.</summary>
    public void Copy(ReadOnlySpan<byte> source, int start)
    {
        lock (_gate)
        {
            if (_abandonedBy is null)
                source.CopyTo(buffer.Span[start..]);
        }
    }

    /// <summary>Zeroes a part of the buffer, unless the caller is gone.</summary>
    public void Clear(int start, int length)
    {
        lock (_gate)
        {
            if (_abandonedBy is null)
                buffer.Span.Slice(start, length).Clear();
        }
    }

    /// <summary>Notes a piece of a READ that is about to come; returns where it belongs in the buffer.</summary>
    /// <exception cref="NbdProtocolException">It lies outside the request or came before.</exception>
    public int Cover(ulong offset, long length)
    {
        if (length <= 0 || offset < (ulong)range.Offset || offset >= (ulong)range.End || length > range.End - (long)offset)
            throw new NbdProtocolException($"Server sent {length} bytes for offset {offset}; the read asked for {range}.");
        var start = (int)((long)offset - range.Offset);
        if (!_coverage.TryAdd(start, (int)length))
            throw new NbdProtocolException($"Server sent bytes at offset {offset} of the read of {range} twice.");
        return start;
    }

    /// <summary>The server's refusal; the first one counts.</summary>
    public void Refuse(NbdError error, string text)
    {
        var said = text.Length > 0 ? $", and said '{text}'" : "";
        var what = command == NbdCommand.Flush ? "'Flush'" : $"'{command}' of {range.Length} bytes at offset {range.Offset}";
        _error ??= new NbdRequestException(error, $"Server refused {what}: {Name(error)}{said}.");
    }

    /// <summary>The reply is whole.</summary>
    /// <exception cref="NbdProtocolException">It claims success but something is missing.</exception>
    public void Complete()
    {
        if (_error is not null)
        {
            TrySetException(_error);
            return;
        }

        if (command == NbdCommand.Read && _coverage.Covered != range.Length)
            throw new NbdProtocolException($"Server ended its reply to a read of {range.Length} bytes after {_coverage.Covered} bytes.");
        status?.Finish();
        TrySetResult();
    }

    private static string Name(NbdError error) => error switch
    {
        NbdError.NotPermitted => "not permitted (EPERM)",
        NbdError.InputOutput => "input/output error (EIO)",
        NbdError.OutOfMemory => "out of memory (ENOMEM)",
        NbdError.Invalid => "invalid request (EINVAL)",
        NbdError.NoSpace => "no space left (ENOSPC)",
        NbdError.Overflow => "too large (EOVERFLOW)",
        NbdError.NotSupported => "not supported (ENOTSUP)",
        NbdError.ShuttingDown => "shutting down (ESHUTDOWN)",
        _ => $"error {(uint)error}",
    };
}
