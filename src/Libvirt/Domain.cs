// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

/// <summary>
/// A machine as libvirt knows it, held by its UUID: it needs no disposal and stays valid when the connection is reopened. Every call
/// asks the daemon; one on a domain that is gone throws <see cref="LibvirtNotFoundException"/>.
/// </summary>
public sealed partial class Domain
{
    private readonly string _uuidText;

    internal Domain(LibvirtConnection connection, Guid uuid, string name)
    {
        Connection = connection;
        Uuid = uuid;
        Name = name;
        _uuidText = uuid.ToString();
    }

    public LibvirtConnection Connection { get; }

    public Guid Uuid { get; }

    /// <summary>The name when this object was made.</summary>
    public string Name { get; }

    public override string ToString() => Name;

    public Task<DomainStatus> GetStatusAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the state of",
            (domain, what) =>
            {
                LibvirtErrors.Require(DomainNative.GetState(domain, out var state, out var reason, 0), what);
                return new DomainStatus((DomainState)state, reason);
            },
            cancellationToken);

    public Task<bool> IsPersistentAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "ask persistence of",
            (domain, what) => LibvirtErrors.Require(DomainNative.IsPersistent(domain), what) == 1,
            cancellationToken);

    /// <summary>The machine is stopped, and libvirt keeps its memory, to go on from at the next start.</summary>
    public Task<bool> HasManagedSaveAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "ask for a saved state of",
            (domain, what) => LibvirtErrors.Require(DomainNative.HasManagedSave(domain, 0), what) == 1,
            cancellationToken);

    public Task<string> GetXmlAsync(DomainXmlFlags flags = DomainXmlFlags.None, CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the XML of",
            (domain, what) => LibvirtErrors.Require(DomainNative.GetXml(domain, (uint)flags), what),
            cancellationToken);

    public Task StartAsync(DomainStartFlags flags = DomainStartFlags.None, CancellationToken cancellationToken = default) =>
        CallAsync("start", (domain, what) => LibvirtErrors.Require(DomainNative.Create(domain, (uint)flags), what), cancellationToken);

    public Task SuspendAsync(CancellationToken cancellationToken = default) =>
        CallAsync("suspend", (domain, what) => LibvirtErrors.Require(DomainNative.Suspend(domain), what), cancellationToken);

    public Task ResumeAsync(CancellationToken cancellationToken = default) =>
        CallAsync("resume", (domain, what) => LibvirtErrors.Require(DomainNative.Resume(domain), what), cancellationToken);

    /// <summary>Asks the guest to power off; it may take its time or ignore it.</summary>
    public Task ShutdownAsync(CancellationToken cancellationToken = default) =>
        CallAsync("shut down", (domain, what) => LibvirtErrors.Require(DomainNative.Shutdown(domain), what), cancellationToken);

    /// <summary>Ends the QEMU process, with SIGTERM first, so that bitmaps are stored.</summary>
    public Task DestroyAsync(CancellationToken cancellationToken = default) =>
        CallAsync("destroy", (domain, what) => LibvirtErrors.Require(DomainNative.Destroy(domain, 0), what), cancellationToken);

    public Task UndefineAsync(DomainUndefineFlags flags = DomainUndefineFlags.None, CancellationToken cancellationToken = default) =>
        CallAsync("undefine", (domain, what) => LibvirtErrors.Require(DomainNative.Undefine(domain, (uint)flags), what), cancellationToken);

    public Task AttachDeviceAsync(string xml, DomainAffect affect, CancellationToken cancellationToken = default) =>
        CallAsync(
            "attach a device to",
            (domain, what) => LibvirtErrors.Require(DomainNative.AttachDevice(domain, xml, (uint)affect), what),
            cancellationToken);

    public Task DetachDeviceAsync(string xml, DomainAffect affect, CancellationToken cancellationToken = default) =>
        CallAsync(
            "detach a device from",
            (domain, what) => LibvirtErrors.Require(DomainNative.DetachDevice(domain, xml, (uint)affect), what),
            cancellationToken);

    /// <summary>Sends QEMU a monitor command past libvirt. The answer of a failed human (HMP) command is text too, or nothing.</summary>
    public Task<string> QemuMonitorCommandAsync(string command, bool human = false, CancellationToken cancellationToken = default) =>
        CallAsync(
            "send a monitor command to",
            (domain, what) =>
            {
                LibvirtErrors.Require(DomainNative.QemuMonitorCommand(domain, command, out var reply, human ? 1u : 0), what);
                return reply ?? "";
            },
            cancellationToken);

    private Task<T> CallAsync<T>(string verb, Func<DomainHandle, string, T> call, CancellationToken cancellationToken) =>
        Connection.CallAsync(
            $"{verb} domain '{Name}'",
            (connection, what) =>
            {
                using var domain = LibvirtErrors.Require(DomainNative.LookupByUuid(connection, _uuidText), what);
                return call(domain, what);
            },
            cancellationToken);
}
