// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>
/// One native connection with its registrations; a reopened <see cref="LibvirtConnection"/> gets a new one. All methods block: call them on
/// a worker.
/// </summary>
internal sealed unsafe class NativeConnection : IEventSink
{
    private readonly List<int> _callbackIds = [];
    private readonly IEventSink? _sink;
    private bool _hasCloseCallback;
    private volatile bool _muted;

    private NativeConnection(ConnectionHandle handle, IEventSink? sink)
    {
        Handle = handle;
        _sink = sink;
    }

    internal ConnectionHandle Handle { get; }

    internal bool IsAlive
    {
        get
        {
            try
            {
                return ConnectNative.IsAlive(Handle) == 1;
            }
            catch (ObjectDisposedException)
            {
                return false;
            }
        }
    }

    internal bool HasEvents => _callbackIds.Count > 0;

    /// <summary>
    /// Connects; <paramref name="sink"/> hears of the loss of the connection, and of events once they are registered for.
    /// </summary>
    internal static NativeConnection Open(string? uri, LibvirtConnectionOptions options, IEventSink? sink)
    {
        var handle = ConnectNative.Open(uri);
        if (handle.IsInvalid)
            throw LibvirtErrors.CreateUnreachable($"connect to libvirt at '{uri ?? "the default URI"}'");
        var connection = new NativeConnection(handle, sink);
        // Drivers inside this process know neither keep-alive nor loss; their refusals are not failures.
        _ = ConnectNative.SetKeepAlive(handle, (int)options.KeepAliveInterval.TotalSeconds, (uint)options.KeepAliveCount);
        connection._hasCloseCallback = sink != null && connection.RegisterClose();
        return connection;
    }

    /// <summary>Registers for all events of all domains; what is unknown to an older libvirt is left out.</summary>
    internal void RegisterEvents()
    {
        foreach (var (eventId, callback) in EventCallbacks.All)
        {
            var opaque = GCHandle.ToIntPtr(GCHandle.Alloc(this));
            var id = EventNative.Register(Handle, 0, eventId, (void*)callback, opaque, &EventCallbacks.Free);
            if (id >= 0)
            {
                _callbackIds.Add(id);
                continue;
            }
            var error = LibvirtErrors.Create("register for libvirt events");
            GCHandle.FromIntPtr(opaque).Free();
            if (error.Code is LibvirtErrorCode.NoSupport or LibvirtErrorCode.InvalidArgument)
                continue;
            DeregisterEvents();
            throw error;
        }
    }

    /// <summary>
    /// Registrations hold references to the connection, so they go first; on a lost connection their refusals change nothing.
    /// </summary>
    internal void Close()
    {
        _muted = true;
        DeregisterEvents();
        if (_hasCloseCallback)
            _ = EventNative.UnregisterClose(Handle, &EventCallbacks.Closed);
        Handle.Dispose();
    }

    void IEventSink.OnEvent(DomainEvent domainEvent)
    {
        if (!_muted)
            _sink?.OnEvent(domainEvent);
    }

    void IEventSink.OnClosed(CloseReason reason)
    {
        if (!_muted)
            _sink?.OnClosed(reason);
    }

    private void DeregisterEvents()
    {
        foreach (var id in _callbackIds)
            _ = EventNative.Deregister(Handle, id);
        _callbackIds.Clear();
    }

    private bool RegisterClose()
    {
        var opaque = GCHandle.ToIntPtr(GCHandle.Alloc(this));
        if (EventNative.RegisterClose(Handle, &EventCallbacks.Closed, opaque, &EventCallbacks.Free) >= 0)
            return true;
        GCHandle.FromIntPtr(opaque).Free();
        return false;
    }
}
