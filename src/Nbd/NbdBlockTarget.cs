// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>
/// An export as a disk to write, over a few connections. Writes of any offset and length are split as the server needs; the parts of
/// blocks at their ends are read, changed and written back. Calls may overlap where their ranges do not.
/// </summary>
public sealed class NbdBlockTarget : IBlockTarget
{
    private readonly ConnectionPool _pool;
    private readonly byte[] _zeroes;

    // Two writes may share a block at their ends; one at a time, so neither undoes the other.
    private readonly SemaphoreSlim _partTurn = new(1);

    private NbdBlockTarget(ConnectionPool pool)
    {
        _pool = pool;
        _zeroes = Export.Has(NbdTransmissionFlags.WriteZeroes) ? [] : new byte[pool.RequestLength];
    }

    public NbdExport Export => _pool.Export;

    public long Size => _pool.Export.Size;

    public int ConnectionCount => _pool.ConnectionCount;

    /// <summary>False: the server offers no way to make writes durable, and <see cref="FlushAsync"/> throws.</summary>
    public bool CanFlush => Export.Has(NbdTransmissionFlags.Flush);

    /// <summary>Opens the URI's export for writing.</summary>
    /// <exception cref="NbdRequestException">The export is read-only.</exception>
    public static async Task<NbdBlockTarget> OpenAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken)
    {
        var pool = await ConnectionPool.OpenAsync(uri, options, cancellationToken);
        if (!pool.Export.IsReadOnly)
            return new NbdBlockTarget(pool);
        await pool.DisposeAsync();
        throw new NbdRequestException(NbdError.NotPermitted, $"Export '{uri}' is read-only.");
    }

    /// <summary>Reads back what was written.</summary>
    public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
        _pool.ReadAsync(offset, buffer, cancellationToken);

    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        var range = _pool.CheckedRange(offset, buffer.Length);
        return _pool.ForPiecesAsync(range, _pool.RequestLength, piece =>
        {
            var part = buffer.Slice((int)(piece.Offset - offset), (int)piece.Length);
            return _pool.IsWhole(piece)
                ? _pool.Next().WriteAsync(piece.Offset, part, isDurable: false, cancellationToken)
                : ChangePartAsync(piece, target => part.Span.CopyTo(target), cancellationToken);
        });
    }

    /// <summary>By WRITE_ZEROES, which may leave a hole, or by writing zero bytes where the server does not offer it.</summary>
    public ValueTask ZeroAsync(ByteRange range, CancellationToken cancellationToken)
    {
        _pool.CheckedRange(range.Offset, range.Length);
        var longest = _zeroes.Length == 0 ? NbdLimits.MaxZeroLength : _zeroes.Length;
        return _pool.ForPiecesAsync(range, longest, piece =>
        {
            if (!_pool.IsWhole(piece))
                return ChangePartAsync(piece, target => target.Clear(), cancellationToken);
            return _zeroes.Length == 0
                ? _pool.Next().WriteZeroesAsync(piece, NbdCommandFlags.None, cancellationToken)
                : _pool.Next().WriteAsync(piece.Offset, _zeroes.AsMemory(0, (int)piece.Length), isDurable: false, cancellationToken);
        });
    }

    /// <summary>Gives up the whole blocks in the range, where the server can; what it reads as afterwards is not defined.</summary>
    public ValueTask TrimAsync(ByteRange range, CancellationToken cancellationToken)
    {
        _pool.CheckedRange(range.Offset, range.Length);
        if (!Export.Has(NbdTransmissionFlags.Trim))
            return ValueTask.CompletedTask;
        return _pool.ForPiecesAsync(range, NbdLimits.MaxZeroLength, piece =>
            _pool.IsWhole(piece) ? _pool.Next().TrimAsync(piece, cancellationToken) : ValueTask.CompletedTask);
    }

    /// <inheritdoc/>
    /// <exception cref="NbdRequestException">The server offers no flush: it makes no promise, so neither does this.</exception>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => _pool.Next().FlushAsync(cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _pool.DisposeAsync();
        _partTurn.Dispose();
    }

    private delegate void Change(Span<byte> target);

    private async ValueTask ChangePartAsync(ByteRange piece, Change change, CancellationToken cancellationToken)
    {
        var around = _pool.Around(piece);
        var block = new byte[around.Length];
        await _partTurn.WaitAsync(cancellationToken);
        try
        {
            // The same connection for both: what it has answered, it sees.
            var connection = _pool.Next();
            await connection.ReadAsync(around.Offset, block, cancellationToken);
            change(block.AsSpan((int)(piece.Offset - around.Offset), (int)piece.Length));
            await connection.WriteAsync(around.Offset, block, isDurable: false, cancellationToken);
        }
        finally
        {
            _partTurn.Release();
        }
    }
}
