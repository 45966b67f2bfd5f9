// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

/// <summary>
/// The native connections that calls run on, one call at a time on each. libvirt's client lets several threads share a connection, but
/// the one that waits for its answer reads for all, and the others sometimes fail to wake it (seen with 9.0): their calls then take 5 s
/// longer while a backup or a freeze of another machine waits for a lock.
/// </summary>
internal sealed class CallConnections(Func<NativeConnection> open)
{
    // More calls than this run at once only for moments.
    private const int MaxIdle = 8;

    private readonly Lock _gate = new();
    private readonly Stack<NativeConnection> _idle = new();
    private bool _closed;

    /// <summary>Runs the call on this thread, on a connection of its own.</summary>
    internal T Run<T>(Func<ConnectionHandle, T> call)
    {
        var connection = Take() ?? open();
        try
        {
            return call(connection.Handle);
        }
        finally
        {
            Return(connection);
        }
    }

    internal void Close()
    {
        lock (_gate)
            _closed = true;
        while (Take() is { } connection)
            connection.Close();
    }

    private NativeConnection? Take()
    {
        while (true)
        {
            NativeConnection? connection;
            lock (_gate)
            {
                if (!_idle.TryPop(out connection))
                    return null;
            }
            if (connection.IsAlive)
                return connection;
            connection.Close();
        }
    }

    private void Return(NativeConnection connection)
    {
        lock (_gate)
        {
            if (!_closed && _idle.Count < MaxIdle)
            {
                _idle.Push(connection);
                return;
            }
        }
        connection.Close();
    }
}
