// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Runs;
using Tidemark.Libvirt;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>
/// A pull backup job of libvirt, read over its NBD socket. Its end has an order that matters: first every connection of ours,
/// since one that were still negotiating would hang QEMU's main loop for good, and only then the job.
/// </summary>
internal sealed class LibvirtFrozenPoint : IFrozenPoint
{
    private readonly Domain _domain;
    private readonly FreezeRequest _request;
    private readonly GuestFreeze _guest;
    private readonly FrozenPointWatch _watch;
    private readonly List<string> _warnings = [];
    private readonly NbdDisks _disks;
    private bool _closed;
    private bool _ended;

    public LibvirtFrozenPoint(
        LibvirtConnection connection,
        Domain domain,
        FreezeRequest request,
        GuestFreeze guest,
        EventSubscription events,
        DateTimeOffset time)
    {
        _domain = domain;
        _request = request;
        _guest = guest;
        _disks = new NbdDisks(request);
        Time = time;
        _watch = new FrozenPointWatch(connection, domain, RunFolder.Socket(request.Folder), request.Folder, events);
        Voided = _watch.Voided;
        if (request.Quiesce != Quiesce.Off && guest.Problem is { } problem)
            _warnings.Add($"File systems were not frozen: {problem}; the point is as after a power cut.");
        if (guest.ThawOwed)
            _warnings.Add("The guest's agent did not confirm the thaw; the guardian keeps trying until it does.");
    }

    public DateTimeOffset Time { get; }

    public Consistency Consistency => _guest.Frozen ? Consistency.Filesystem : Consistency.Crash;

    public IReadOnlyList<string> Warnings => _warnings;

    public bool ThawOwed => _guest.ThawOwed;

    public CancellationToken Voided { get; }

    public string? VoidReason => _watch.VoidReason;

    public Task WatchScratchAsync(CancellationToken cancellationToken) => _watch.StartAsync(cancellationToken);

    public Task ConnectAsync(CancellationToken cancellationToken) => _disks.OpenAsync(cancellationToken);

    public IFrozenDisk Disk(string name) => _disks[name];

    public async Task EndAsync(CancellationToken cancellationToken)
    {
        if (!await StopAsync(cancellationToken) && VoidReason is null)
        {
            throw EngineException.Failed(
                $"The hypervisor's backup job of '{_request.Machine.Name}' had ended before all was read; the run is void.");
        }

        if (VoidReason is { } reason)
            throw EngineException.Failed(reason);
    }

    // What was read is read, and the job served it until its end: nothing that happens to the machine later can change it.
    public Task ConfirmAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async ValueTask DisposeAsync() => await StopAsync(CancellationToken.None);

    // True when the job was active until now.
    private async Task<bool> StopAsync(CancellationToken cancellationToken)
    {
        if (_ended)
            return true;
        if (!_closed)
        {
            _closed = true;
            await _disks.DisposeAsync();
            await _watch.DisposeAsync();
        }

        var active = await LibvirtFailures.TranslateAsync(() =>
            BackupJob.EndAsync(_domain, RunFolder.Socket(_request.Folder), cancellationToken));
        _ended = true;
        return active;
    }
}
