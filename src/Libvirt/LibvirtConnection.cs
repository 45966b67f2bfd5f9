// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

/// <summary>
/// A read-write connection to one libvirt host; all members may be used from several threads at once. When the daemon goes away, calls
/// throw <see cref="LibvirtConnectionException"/> and subscriptions yield <see cref="ConnectionLostEvent"/>; <see cref="ReopenAsync"/>
/// connects again, after which every <see cref="Domain"/> and subscription of this connection works as before. Events of the time
/// between are lost: read states anew.
/// </summary>
public sealed class LibvirtConnection : IAsyncDisposable
{
    private static readonly TimeSpan PauseBetweenAttempts = TimeSpan.FromMilliseconds(250);

    private readonly LibvirtConnectionOptions _options;
    private readonly string? _requestedUri;
    private readonly EventHub _hub = new();
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly CallConnections _calls;
    // For events and for noticing a loss; calls run on others.
    private volatile NativeConnection _native = null!;
    private volatile bool _disposed;

    private LibvirtConnection(string? uri, LibvirtConnectionOptions options)
    {
        _requestedUri = uri;
        _options = options;
        _calls = new CallConnections(() => NativeConnection.Open(uri, options, sink: null));
    }

    /// <summary>Version of libvirt.so.0 in this process.</summary>
    public static Version ClientVersion
    {
        get
        {
            LibvirtLibrary.EnsureStarted();
            LibvirtErrors.Require(LibraryNative.GetVersion(out var version, 0, 0), "read the libvirt version");
            return ToVersion(version);
        }
    }

    /// <summary>The URI libvirt resolved the given one to.</summary>
    public string Uri { get; private set; } = "";

    /// <summary>False once the connection is known to be broken; true says nothing about a daemon that has just died.</summary>
    public bool IsAlive => !_disposed && _native.IsAlive;

    /// <summary>Connects to <paramref name="uri"/>; null means libvirt's default (LIBVIRT_DEFAULT_URI, then the local host).</summary>
    /// <exception cref="LibvirtConnectionException">The host cannot be reached.</exception>
    /// <exception cref="LibvirtMissingException">libvirt.so.0 is not installed.</exception>
    public static async Task<LibvirtConnection> OpenAsync(
        string? uri = null, LibvirtConnectionOptions? options = null, CancellationToken cancellationToken = default)
    {
        var connection = new LibvirtConnection(uri, options ?? new LibvirtConnectionOptions());
        connection._native = await connection.OpenNativeAsync(cancellationToken);
        try
        {
            connection.Uri = await connection.CallAsync(
                "read the URI", (handle, what) => LibvirtErrors.Require(ConnectNative.GetUri(handle), what), cancellationToken);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    /// <summary>Connects again, trying for as long as <paramref name="patience"/>; returns at once while the connection is alive.</summary>
    /// <exception cref="LibvirtConnectionException">The daemon did not come back in time; calling again is allowed.</exception>
    public async Task ReopenAsync(TimeSpan patience, CancellationToken cancellationToken = default)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_native.IsAlive)
                return;
            var deadline = TimeProvider.System.GetTimestamp() + (long)(patience.TotalSeconds * TimeProvider.System.TimestampFrequency);
            var fresh = await OpenPatientlyAsync(deadline, cancellationToken);
            var old = _native;
            _native = fresh;
            await BlockingCall.RunAsync(() => { old.Close(); return true; }, CancellationToken.None);
            _hub.Publish(new ConnectionReopenedEvent());
        }
        finally
        {
            _gate.Release();
        }
    }

    public Task<string> GetHostnameAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the host name",
            (handle, what) => LibvirtErrors.Require(ConnectNative.GetHostname(handle), what),
            cancellationToken);

    /// <summary>The host's capabilities document, with its UUID.</summary>
    public Task<string> GetCapabilitiesAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the capabilities",
            (handle, what) => LibvirtErrors.Require(ConnectNative.GetCapabilities(handle), what),
            cancellationToken);

    /// <summary>What the host offers machines of a type ("kvm", "qemu"); nulls mean the host's defaults.</summary>
    public Task<string> GetDomainCapabilitiesAsync(string? hypervisorType = null, CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the domain capabilities",
            (handle, what) => LibvirtErrors.Require(ConnectNative.GetDomainCapabilities(handle, null, null, null, hypervisorType, 0), what),
            cancellationToken);

    /// <summary>Version of libvirt on the other side.</summary>
    public Task<Version> GetLibraryVersionAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the host's libvirt version",
            (handle, what) =>
            {
                LibvirtErrors.Require(ConnectNative.GetLibraryVersion(handle, out var version), what);
                return ToVersion(version);
            },
            cancellationToken);

    /// <summary>Version of the QEMU that the host's machines get by default; 0.0.0 when libvirt knows of none.</summary>
    public Task<Version> GetHypervisorVersionAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the host's QEMU version",
            (handle, what) =>
            {
                LibvirtErrors.Require(ConnectNative.GetHypervisorVersion(handle, out var version), what);
                return ToVersion(version);
            },
            cancellationToken);

    /// <summary>All domains, active and inactive, by name.</summary>
    public Task<IReadOnlyList<Domain>> ListDomainsAsync(CancellationToken cancellationToken = default) =>
        CallAsync<IReadOnlyList<Domain>>(
            "list the domains",
            (handle, what) =>
            {
                var handles = LibvirtErrors.Require(ConnectNative.ListDomains(handle), what);
                return [.. handles.Select(Describe).OrderBy(domain => domain.Name, StringComparer.Ordinal)];
            },
            cancellationToken);

    /// <exception cref="LibvirtNotFoundException">There is no such domain.</exception>
    public Task<Domain> GetDomainAsync(string name, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"find domain '{name}'",
            (handle, what) => Describe(LibvirtErrors.Require(DomainNative.LookupByName(handle, name), what)),
            cancellationToken);

    /// <exception cref="LibvirtNotFoundException">There is no such domain.</exception>
    public Task<Domain> GetDomainAsync(Guid uuid, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"find domain '{uuid}'",
            (handle, what) => Describe(LibvirtErrors.Require(DomainNative.LookupByUuid(handle, uuid.ToString()), what)),
            cancellationToken);

    /// <summary>Makes or replaces a persistent domain, which is not started.</summary>
    public Task<Domain> DefineDomainAsync(string xml, bool validate = false, CancellationToken cancellationToken = default) =>
        CallAsync(
            "define a domain",
            (handle, what) => Describe(LibvirtErrors.Require(ConnectNative.DefineDomain(handle, xml, validate ? 1u : 0), what)),
            cancellationToken);

    /// <summary>Starts a transient domain.</summary>
    public Task<Domain> CreateDomainAsync(string xml, DomainStartFlags flags, CancellationToken cancellationToken = default) =>
        CallAsync(
            "create a transient domain",
            (handle, what) => Describe(LibvirtErrors.Require(ConnectNative.CreateDomain(handle, xml, (uint)flags), what)),
            cancellationToken);

    /// <summary>
    /// From the return on, every event of the domain (null: of all domains) is kept for the subscription until it is read or disposed.
    /// It survives <see cref="ReopenAsync"/>.
    /// </summary>
    public async Task<EventSubscription> SubscribeAsync(Guid? uuid = null, CancellationToken cancellationToken = default)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var native = _native;
            var subscription = _hub.Add(uuid);
            try
            {
                if (!native.HasEvents)
                    await BlockingCall.RunAsync(() => { native.RegisterEvents(); return true; }, cancellationToken);
            }
            catch
            {
                subscription.Dispose();
                throw;
            }
            return subscription;
        }
        finally
        {
            _gate.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _gate.WaitAsync();
        try
        {
            if (_disposed)
                return;
            _disposed = true;
            await BlockingCall.RunAsync(() => { _calls.Close(); _native.Close(); return true; }, CancellationToken.None);
            _hub.Complete();
        }
        finally
        {
            _gate.Release();
        }
    }

    internal Task<T> CallAsync<T>(string action, Func<ConnectionHandle, string, T> call, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var native = _native;
        // A lost connection stays lost until it is reopened: connecting behind its back would hide that events are missed.
        return BlockingCall.RunAsync(
            () => native.IsAlive ? _calls.Run(handle => call(handle, action)) : throw LibvirtErrors.CreateLost(action, Uri),
            cancellationToken);
    }

    private static Version ToVersion(nuint version) =>
        new((int)(version / 1_000_000), (int)(version / 1000 % 1000), (int)(version % 1000));

    private Domain Describe(DomainHandle handle)
    {
        using (handle)
            return new Domain(this, DomainNative.GetUuid(handle), DomainNative.GetName(handle) ?? "");
    }

    private Task<NativeConnection> OpenNativeAsync(CancellationToken cancellationToken) => BlockingCall.RunAsync(
        () =>
        {
            LibvirtLibrary.EnsureStarted();
            var native = NativeConnection.Open(_requestedUri, _options, _hub);
            try
            {
                if (!_hub.IsEmpty)
                    native.RegisterEvents();
                return native;
            }
            catch
            {
                native.Close();
                throw;
            }
        },
        cancellationToken);

    private async Task<NativeConnection> OpenPatientlyAsync(long deadline, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await OpenNativeAsync(cancellationToken);
            }
            catch (LibvirtConnectionException) when (TimeProvider.System.GetTimestamp() < deadline)
            {
                await Task.Delay(PauseBetweenAttempts, cancellationToken);
            }
        }
    }
}
