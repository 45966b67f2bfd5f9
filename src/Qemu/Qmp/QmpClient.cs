// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using System.Threading.Channels;

namespace Tidemark.Qemu.Qmp;

/// <summary>
/// A connection to the machine protocol of a QEMU or a qemu-storage-daemon. Calls may come from many threads at once; replies find
/// their call by id, events go to one bounded queue. One reader loop owns the receiving side. The first reason to end wins, and
/// every pending call gets it. A QMP socket serves one client at a time: a second one is not greeted until the first has left.
/// </summary>
public sealed class QmpClient : IAsyncDisposable
{
    private readonly Stream _stream;
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly ConcurrentDictionary<long, TaskCompletionSource<QmpLine>> _pending = new();
    private readonly TaskCompletionSource<QmpLine> _greeting = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Channel<QmpEvent> _events;
    private readonly CancellationTokenSource _closing = new();
    private readonly Task _reading;
    private Exception? _ending;
    private long _lastId;
    private long _lostEvents;

    private QmpClient(Stream stream)
    {
        _stream = stream;
        _events = Channel.CreateBounded<QmpEvent>(
            new BoundedChannelOptions(QmpLimits.Events) { FullMode = BoundedChannelFullMode.DropOldest, SingleWriter = true },
            _ => Interlocked.Increment(ref _lostEvents));
        _reading = ReadLoopAsync();
    }

    /// <summary>QEMU's version.</summary>
    public QmpVersion Version { get; private set; } = new(0, 0, 0, "");

    /// <summary>Events dropped because nobody read them in time.</summary>
    public long LostEvents => Interlocked.Read(ref _lostEvents);

    /// <summary>Connects to a monitor socket and leaves negotiation mode.</summary>
    /// <exception cref="QmpClosedException">Nobody listens there, or no greeting came in time: another client is served.</exception>
    /// <exception cref="QmpProtocolException">Something else than QMP answered.</exception>
    public static async Task<QmpClient> ConnectAsync(string socketPath, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellationToken);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is not SocketException)
                throw;
            throw new QmpClosedException($"Could not connect to the monitor '{socketPath}': {e.Message.TrimEnd('.')}.", e);
        }

        return await OpenAsync(new NetworkStream(socket, ownsSocket: true), socketPath, cancellationToken);
    }

    /// <summary>As <see cref="ConnectAsync"/>, over a stream that is already connected; it is disposed with the client.</summary>
    public static async Task<QmpClient> OpenAsync(
        Stream stream, string name, CancellationToken cancellationToken, TimeSpan? greetingLimit = null)
    {
        var client = new QmpClient(stream);
        var limit = greetingLimit ?? QmpLimits.Greeting;
        try
        {
            var greeting = (await client._greeting.Task.WaitAsync(limit, cancellationToken)).Greeting!.Version;
            client.Version = new QmpVersion(greeting.Qemu.Major, greeting.Qemu.Minor, greeting.Qemu.Micro, greeting.Package ?? "");
            await client.ExecuteAsync("qmp_capabilities", null, cancellationToken);
            return client;
        }
        catch (TimeoutException e)
        {
            await client.DisposeAsync();
            throw new QmpClosedException(
                $"The monitor '{name}' did not greet within {limit.TotalSeconds} seconds; it may be serving another client.", e);
        }
        catch
        {
            await client.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a command and returns what it returned, an empty object for most.</summary>
    /// <exception cref="QmpCommandException">QEMU refused it.</exception>
    /// <exception cref="TimeoutException">No reply in time; QEMU may still carry it out.</exception>
    /// <exception cref="QmpClosedException">The connection has ended.</exception>
    /// <exception cref="QmpProtocolException">The peer broke the protocol, now or before.</exception>
    public async Task<JsonElement> ExecuteAsync(
        string command, JsonObject? arguments, CancellationToken cancellationToken, TimeSpan? limit = null)
    {
        var id = Interlocked.Increment(ref _lastId);
        var waiter = new TaskCompletionSource<QmpLine>(TaskCreationOptions.RunContinuationsAsynchronously);
        _pending[id] = waiter;
        try
        {
            // Order matters: the reader sets the reason first and fails the pending calls then, so one of the two sees the other.
            if (Volatile.Read(ref _ending) is { } ending)
                throw Again(ending);
            await SendAsync(new QmpCommand(command, arguments, id), cancellationToken);
            var within = limit ?? QmpLimits.Command;
            QmpLine reply;
            try
            {
                reply = await waiter.Task.WaitAsync(within, cancellationToken);
            }
            catch (TimeoutException e)
            {
                throw new TimeoutException($"QEMU did not answer '{command}' within {within.TotalSeconds} seconds.", e);
            }

            return reply.Error is { } error
                ? throw new QmpCommandException(command, error.Class, error.Description)
                : reply.Return!.Value;
        }
        finally
        {
            _pending.TryRemove(id, out _);
        }
    }

    /// <summary>Runs a command and reads its result as <typeparamref name="T"/>.</summary>
    /// <inheritdoc cref="ExecuteAsync(string, JsonObject?, CancellationToken, TimeSpan?)" path="/exception"/>
    public async Task<T> ExecuteAsync<T>(string command, JsonObject? arguments, JsonTypeInfo<T> result, CancellationToken cancellationToken)
    {
        var value = await ExecuteAsync(command, arguments, cancellationToken);
        try
        {
            return value.Deserialize(result) ?? throw new JsonException("The value is null.");
        }
        catch (JsonException e)
        {
            throw new QmpProtocolException($"QEMU answered '{command}' with a value of another shape: {e.Message}", e);
        }
    }

    /// <summary>Events in order, from the first since the connection, for one reader; throws the reason when it ends.</summary>
    public async IAsyncEnumerable<QmpEvent> EventsAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var item in _events.Reader.ReadAllAsync(cancellationToken))
            yield return item;
    }

    /// <summary>Waits for the next event for which <paramref name="wanted"/> is true; those before it are consumed.</summary>
    /// <exception cref="TimeoutException">It did not come within <paramref name="limit"/>.</exception>
    public async Task<QmpEvent> WaitForAsync(Func<QmpEvent, bool> wanted, TimeSpan limit, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(wanted);
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timer.CancelAfter(limit);
        try
        {
            while (true)
            {
                var item = await _events.Reader.ReadAsync(timer.Token);
                if (wanted(item))
                    return item;
            }
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"The awaited QEMU event did not come within {limit.TotalSeconds} seconds.", e);
        }
        catch (ChannelClosedException e)
        {
            throw Again(e.InnerException ?? e);
        }
    }

    public async ValueTask DisposeAsync()
    {
        End(new QmpClosedException("The QMP connection was closed by its owner."));
        await _closing.CancelAsync();
        await _stream.DisposeAsync();
        await _reading;
        _closing.Dispose();
        _writing.Dispose();
    }

    // The same reason reaches many callers; each gets an exception of its own, so that stack traces are not mixed.
    private static Exception Again(Exception reason) => reason switch
    {
        QmpProtocolException => new QmpProtocolException(reason.Message, reason),
        _ => new QmpClosedException(reason.Message, reason),
    };

    private async Task SendAsync(QmpCommand command, CancellationToken cancellationToken)
    {
        // One write for the whole line: QEMU acts at the closing brace, and after 'quit' it would not be there for the line end.
        byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(command, QmpJson.Default.QmpCommand), (byte)'\n'];
        await _writing.WaitAsync(cancellationToken);
        try
        {
            // Not cancellable: half a command on the wire would break every later one. QEMU always reads.
            await _stream.WriteAsync(line, _closing.Token);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            End(new QmpClosedException("The QMP connection ended while a command was sent.", e));
            throw Again(_ending!);
        }
        finally
        {
            _writing.Release();
        }
    }

    private async Task ReadLoopAsync()
    {
        var reader = PipeReader.Create(_stream, new StreamPipeReaderOptions(leaveOpen: true));
        try
        {
            while (true)
            {
                var read = await reader.ReadAsync(_closing.Token);
                var buffer = read.Buffer;
                while (buffer.PositionOf((byte)'\n') is { } end)
                {
                    Receive(buffer.Slice(0, end));
                    buffer = buffer.Slice(buffer.GetPosition(1, end));
                }

                if (buffer.Length > QmpLimits.LineBytes)
                    throw new QmpProtocolException($"QEMU sent a line of more than {QmpLimits.LineBytes} bytes.");
                if (read.IsCompleted)
                    throw new QmpClosedException("QEMU closed the QMP connection.");
                reader.AdvanceTo(buffer.Start, buffer.End);
            }
        }
        catch (Exception e) when (e is QmpProtocolException or QmpClosedException)
        {
            End(e);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            End(new QmpClosedException($"The QMP connection ended: {e.Message.TrimEnd('.')}.", e));
        }
        finally
        {
            await reader.CompleteAsync();
            await _stream.DisposeAsync();
        }
    }

    private void Receive(ReadOnlySequence<byte> line)
    {
        QmpLine? message;
        try
        {
            var json = new Utf8JsonReader(line);
            message = JsonSerializer.Deserialize(ref json, QmpJson.Default.QmpLine);
        }
        catch (JsonException e)
        {
            throw new QmpProtocolException($"QEMU sent a line of {line.Length} bytes that is not QMP: {e.Message}", e);
        }

        if (message is { Event: { } name })
            _events.Writer.TryWrite(new QmpEvent(name, message.Data ?? default, TimeOf(message.Timestamp)));
        else if (message is { Greeting: not null })
            _greeting.TrySetResult(message);
        else if (message is not null and ({ Return: not null } or { Error: not null }))
            Complete(message);
        else
            throw new QmpProtocolException("QEMU sent a message that is neither a greeting, a reply nor an event.");
    }

    private void Complete(QmpLine reply)
    {
        if (reply.Id is not { } id)
            throw new QmpProtocolException($"QEMU could not read a command: {reply.Error?.Description ?? "a reply carries no id"}.");
        if (_pending.TryRemove(id, out var waiter))
            waiter.TrySetResult(reply);
        else if (id <= 0 || id > Interlocked.Read(ref _lastId))
            throw new QmpProtocolException($"QEMU replied to command {id}, which was never sent.");
    }

    private void End(Exception reason)
    {
        if (Interlocked.CompareExchange(ref _ending, reason, null) is not null)
            return;
        _greeting.TrySetException(Again(reason));
        foreach (var waiter in _pending.Values)
            waiter.TrySetException(Again(reason));
        _events.Writer.TryComplete(reason);
    }

    private static DateTimeOffset TimeOf(QmpTimestamp? stamp) =>
        stamp is { Seconds: >= 0 } ? DateTimeOffset.FromUnixTimeSeconds(stamp.Seconds).AddMicroseconds(stamp.Microseconds) : default;
}
