// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>
/// Requests in flight by cookie: <c>generation &lt;&lt; 16 | slot</c>. A slot's generation grows with each use, so a reply that
/// comes twice or late names nothing. Thread-safe.
/// </summary>
internal sealed class PendingTable
{
    private readonly Lock _gate = new();
    private readonly PendingRequest?[] _slots;
    private readonly ulong[] _generations;
    private readonly Stack<int> _free = new();
    private Func<Exception>? _closed;

    public PendingTable(int depth)
    {
        _slots = new PendingRequest?[depth];
        _generations = new ulong[depth];
        for (var slot = depth - 1; slot >= 0; slot--)
            _free.Push(slot);
    }

    public int Count
    {
        get
        {
            lock (_gate)
                return _slots.Length - _free.Count;
        }
    }

    /// <summary>Returns the cookie. The caller holds one of the permits of the depth, so there is a free slot.</summary>
    public ulong Add(PendingRequest request)
    {
        lock (_gate)
        {
            if (_closed is not null)
                throw _closed();
            var slot = _free.Pop();
            _slots[slot] = request;
            return (++_generations[slot] << 16) | (uint)slot;
        }
    }

    /// <exception cref="NbdProtocolException">No request in flight has this cookie.</exception>
    public PendingRequest Find(ulong cookie)
    {
        lock (_gate)
        {
            var slot = (int)(cookie & 0xffff);
            if (slot < _slots.Length && cookie >> 16 == _generations[slot] && _slots[slot] is { } request)
                return request;
        }

        throw new NbdProtocolException($"Server replied with cookie '{cookie:x16}', which no request in flight has.");
    }

    public void Remove(ulong cookie)
    {
        lock (_gate)
        {
            var slot = (int)(cookie & 0xffff);
            _slots[slot] = null;
            _free.Push(slot);
        }
    }

    /// <summary>Fails all requests, and every later one.</summary>
    public void Close(Func<Exception> reason)
    {
        lock (_gate)
        {
            _closed = reason;
            foreach (var request in _slots)
                request?.TrySetException(reason());
        }
    }
}
