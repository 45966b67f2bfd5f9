// SPDX-License-Identifier: Apache-2.0
using System.Runtime.ExceptionServices;
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>
/// A few connections to one export, over which requests are spread once there are more than a few. There is more than one only where
/// the server says that they see each other's writes. When one dies, the calls on it fail; nothing reconnects, since the export may have
/// become another one meanwhile.
/// </summary>
internal sealed class ConnectionPool : IAsyncDisposable
{
    // Pieces of one call under way: enough for every connection at its usual depth, and a bound for calls over terabytes.
    private const int PiecesInFlight = 64;

    // In flight on all connections before more than one is used.
    private const int Few = 8;

    private static readonly TimeSpan _extraConnectionTime = TimeSpan.FromSeconds(2);

    private readonly IReadOnlyList<NbdConnection> _connections;
    private uint _turn;

    private ConnectionPool(IReadOnlyList<NbdConnection> connections, int requestLength)
    {
        _connections = connections;
        Unit = Export.BlockSizes.Minimum;
        RequestLength = (int)Math.Min((uint)requestLength, Export.BlockSizes.Maximum);
    }

    public NbdExport Export => _connections[0].Export;

    public int ConnectionCount => _connections.Count;

    /// <summary>Requests consist of whole units of this many bytes.</summary>
    public long Unit { get; }

    /// <summary>Longest READ or WRITE.</summary>
    public int RequestLength { get; }

    /// <summary>
    /// Opens all connections. The first negotiates every context; of the others, half ask for the bitmaps alone and half for
    /// base:allocation alone, so that listing what is dirty does not make the server walk its allocation of the whole disk.
    /// </summary>
    public static async Task<ConnectionPool> OpenAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        var bitmaps = options with { Contexts = [.. options.Contexts.Where(name => name != NbdMetaContext.BaseAllocation)] };
        var allocation = options with { Contexts = [.. options.Contexts.Where(name => name == NbdMetaContext.BaseAllocation)] };
        var connections = new List<NbdConnection> { await NbdClient.ConnectAsync(uri, options, cancellationToken) };
        try
        {
            var export = connections[0].Export;
            while (export.CanMultiConnection && connections.Count < options.Connections)
            {
                var isForBitmaps = connections.Count % 2 == 1 && bitmaps.Contexts.Count > 0;
                if (await TryConnectAsync(uri, isForBitmaps ? bitmaps : allocation, cancellationToken) is not { } connection)
                    break;
                connections.Add(connection);
                if (connection.Export.Size != export.Size)
                    throw new NbdConnectionClosedException($"Export '{uri}' changed its size while it was being opened.");
            }

            return new ConnectionPool(connections, options.RequestLength);
        }
        catch
        {
            await DisposeAsync(connections);
            throw;
        }
    }

    /// <summary>
    /// The connection for the next request: the first while few are in flight, so that what comes in time all comes through one, whose
    /// thread then wakes seldom and finds much; else the one with the fewest.
    /// </summary>
    public NbdConnection Next()
    {
        if (_connections.Sum(connection => connection.InFlight) < Few)
            return _connections[0];
        var start = Interlocked.Increment(ref _turn);
        var best = _connections[(int)(start % (uint)_connections.Count)];
        var least = best.InFlight;
        for (var i = 1u; i < _connections.Count && least > 0; i++)
        {
            var other = _connections[(int)((start + i) % (uint)_connections.Count)];
            var load = other.InFlight;
            if (load < least)
                (best, least) = (other, load);
        }

        return best;
    }

    /// <summary>The connection that answers for all the contexts and for as few others as possible; null when none does.</summary>
    public NbdConnection? For(IReadOnlyList<string> contexts) => _connections
        .Where(connection => contexts.All(connection.Export.HasContext))
        .MinBy(connection => (connection.Export.Contexts.Count, connection.InFlight));

    /// <summary>Fills the buffer from any offset, whatever the server's block sizes.</summary>
    public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var range = CheckedRange(offset, buffer.Length);
        return IsWhole(range) && range.Length <= RequestLength
            ? Next().ReadAsync(offset, buffer, cancellationToken)
            : ForPiecesAsync(range, RequestLength, piece =>
            {
                var part = buffer.Slice((int)(piece.Offset - offset), (int)piece.Length);
                return IsWhole(piece)
                    ? Next().ReadAsync(piece.Offset, part, cancellationToken)
                    : ReadPartAsync(piece, part, cancellationToken);
            });
    }

    /// <summary>Calls for each piece of the range: whole units up to the longest length, or a part of one unit at either end.</summary>
    public async ValueTask ForPiecesAsync(ByteRange range, long longest, Func<ByteRange, ValueTask> each)
    {
        var running = new Queue<Task>();
        Exception? failure = null;
        foreach (var piece in Pieces(range, longest / Unit * Unit))
        {
            if (running.Count == PiecesInFlight)
                await SettleAsync();
            if (failure is not null)
                break;
            running.Enqueue(each(piece).AsTask());
        }

        // All end before the call does, also after a failure: the buffer is the caller's again then.
        while (running.Count > 0)
            await SettleAsync();
        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);

        async ValueTask SettleAsync()
        {
            try
            {
                await running.Dequeue();
            }
            catch (Exception e)
            {
                failure ??= e;
            }
        }
    }

    public bool IsWhole(ByteRange range) => range.Offset % Unit == 0 && (range.End % Unit == 0 || range.End == Export.Size);

    /// <summary>The whole units around a range.</summary>
    public ByteRange Around(ByteRange range) => range.AlignOut(Unit, Export.Size);

    /// <exception cref="ArgumentOutOfRangeException">The range does not lie within the export.</exception>
    public ByteRange CheckedRange(long offset, long length)
    {
        var range = new ByteRange(offset, length);
        return range.End <= Export.Size
            ? range
            : throw new ArgumentOutOfRangeException(
                nameof(offset), $"Range {range} ends beyond export '{Export.Name}' of {Export.Size} bytes.");
    }

    public ValueTask DisposeAsync() => DisposeAsync(_connections);

    private static async ValueTask DisposeAsync(IEnumerable<NbdConnection> connections) =>
        await Task.WhenAll(connections.Select(connection => connection.DisposeAsync().AsTask()));

    // A server that allows several connections may still be full: QEMU then leaves the next one waiting. Fewer do as well.
    private static async Task<NbdConnection?> TryConnectAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken)
    {
        var patience = options.HandshakeTimeout < _extraConnectionTime ? options.HandshakeTimeout : _extraConnectionTime;
        try
        {
            return await NbdClient.ConnectAsync(uri, options with { HandshakeTimeout = patience }, cancellationToken);
        }
        catch (NbdConnectionClosedException)
        {
            return null;
        }
    }

    private IEnumerable<ByteRange> Pieces(ByteRange range, long longest)
    {
        for (var offset = range.Offset; offset < range.End;)
        {
            var left = range.End - offset;
            var length = Math.Min(longest, left);
            if (offset % Unit != 0)
                length = Math.Min(Unit - offset % Unit, left);
            else if (offset + length != Export.Size && length > Unit)
                length -= length % Unit;
            yield return new ByteRange(offset, length);
            offset += length;
        }
    }

    private async ValueTask ReadPartAsync(ByteRange piece, Memory<byte> part, CancellationToken cancellationToken)
    {
        var around = Around(piece);
        var block = new byte[around.Length];
        await Next().ReadAsync(around.Offset, block, cancellationToken);
        block.AsMemory((int)(piece.Offset - around.Offset), part.Length).CopyTo(part);
    }
}
