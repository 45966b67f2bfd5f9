// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Security;
using System.Net.Sockets;

namespace Tidemark.Nbd;

/// <summary>
/// The bytes under a connection. One receive and one send may be under way at a time. Plain sockets are used directly;
/// a stream layer costs a tenth of the rate.
/// </summary>
internal abstract class Transport : IDisposable
{
    /// <summary>True when a receive can be cancelled without losing a byte and without breaking the connection.</summary>
    public abstract bool CanCancelReceive { get; }

    /// <summary>True when calls hold their thread until they are done: whoever receives in a loop needs a thread of its own.</summary>
    public virtual bool IsBlocking => false;

    /// <summary>Bytes received, 0 at the end of the stream.</summary>
    public abstract ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Sends some bytes, at least one, and says how many.</summary>
    public abstract ValueTask<int> SendSomeAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Says that nothing more will be sent.</summary>
    public abstract ValueTask FinishSendingAsync();

    /// <summary>Closes the socket at once; what is under way fails.</summary>
    public abstract void Dispose();

    public async ValueTask SendAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        while (!buffer.IsEmpty)
            buffer = buffer[await SendSomeAsync(buffer, cancellationToken)..];
    }

    /// <summary>Fills the buffer.</summary>
    /// <exception cref="NbdConnectionClosedException">The stream ended first.</exception>
    public async ValueTask ReceiveExactlyAsync(Memory<byte> buffer, string what, CancellationToken cancellationToken)
    {
        var received = 0;
        while (received < buffer.Length)
        {
            var count = await ReceiveAsync(buffer[received..], cancellationToken);
            if (count == 0)
                throw new NbdConnectionClosedException(
                    $"Server closed the connection {received} bytes into {what} of {buffer.Length} bytes.");
            received += count;
        }
    }
}

internal sealed class SocketTransport(Socket socket) : Transport
{
    public Socket Socket => socket;

    public override bool CanCancelReceive => true;

    public override ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken) =>
        socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);

    public override ValueTask<int> SendSomeAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken) =>
        socket.SendAsync(buffer, SocketFlags.None, cancellationToken);

    public override ValueTask FinishSendingAsync()
    {
        socket.Shutdown(SocketShutdown.Send);
        return ValueTask.CompletedTask;
    }

    public override void Dispose() => socket.Dispose();
}

/// <summary>
/// A socket in blocking mode. A thread that waits inside the receive gets the bytes without a trip through the poller and the pool:
/// half the time of reading a disk. The socket must never have been used asynchronously, which would make it non-blocking for good.
/// </summary>
internal sealed class BlockingTransport : Transport
{
    // How long a call goes on after its cancellation, when the peer is silent.
    private const int PatienceMilliseconds = 100;

    // A send this long is one step of progress for the time limit.
    private const int SendStep = 256 * 1024;

    private readonly Socket _socket;

    private BlockingTransport(Socket socket) => _socket = socket;

    /// <summary>Connects. A server whose queue is full lets a connect wait; a time limit makes it come back to look.</summary>
    public static BlockingTransport Connect(Socket socket, EndPoint address, CancellationToken cancellationToken)
    {
        socket.SendTimeout = PatienceMilliseconds;
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                socket.Connect(address);
                socket.SendTimeout = 0;
                socket.ReceiveTimeout = PatienceMilliseconds;
                return new BlockingTransport(socket);
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
            {
                continue;
            }
        }
    }

    public override bool CanCancelReceive => true;

    public override bool IsBlocking => true;

    public override ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (true)
        {
            var count = _socket.Receive(buffer.Span, SocketFlags.None, out var error);
            if (error == SocketError.Success)
                return ValueTask.FromResult(count);
            if (error is not (SocketError.TimedOut or SocketError.WouldBlock))
                throw new SocketException((int)error);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    // No time limit on the send itself: one that ran out in the middle would not say how much was sent. Closing ends it.
    public override ValueTask<int> SendSomeAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        while (cancellationToken.CanBeCanceled && !_socket.Poll(PatienceMilliseconds * 1000, SelectMode.SelectWrite))
            cancellationToken.ThrowIfCancellationRequested();
        var count = _socket.Send(buffer.Span[..Math.Min(buffer.Length, SendStep)], SocketFlags.None, out var error);
        return error == SocketError.Success ? ValueTask.FromResult(count) : throw new SocketException((int)error);
    }

    public override ValueTask FinishSendingAsync()
    {
        _socket.Shutdown(SocketShutdown.Send);
        return ValueTask.CompletedTask;
    }

    public override void Dispose()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Both); // wakes who waits inside a call
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return; // the peer or an earlier call has done it
        }
        finally
        {
            _socket.Dispose();
        }
    }
}

internal sealed class TlsTransport(Socket socket, SslStream stream) : Transport
{
    // A send this long is one step of progress for the time limit.
    private const int SendStep = 256 * 1024;

    public override bool CanCancelReceive => false;

    public override ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken) =>
        stream.ReadAsync(buffer, cancellationToken);

    public override async ValueTask<int> SendSomeAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        var step = buffer[..Math.Min(buffer.Length, SendStep)];
        await stream.WriteAsync(step, cancellationToken);
        return step.Length;
    }

    public override ValueTask FinishSendingAsync() => new(stream.ShutdownAsync());

    public override void Dispose()
    {
        // The socket first: closing the stream would send a TLS alert and could wait for a stalled peer.
        socket.Dispose();
        stream.Dispose();
    }
}
