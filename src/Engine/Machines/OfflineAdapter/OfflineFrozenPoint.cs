// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt;
using Tidemark.Qemu;

namespace Tidemark.Engine.Machines.OfflineAdapter;

/// <summary>
/// The images of a machine that is off, served by a daemon of ours. Nothing keeps the machine from starting, so the point is void as
/// soon as libvirt says that it did, and what counts is the last look at its files before the commit.
/// </summary>
internal sealed class OfflineFrozenPoint : IFrozenPoint
{
    private readonly FreezeRequest _request;
    private readonly QemuStorageDaemon _daemon;
    private readonly OfflineEvidence _evidence;
    private readonly EventSubscription _events;
    private readonly NbdDisks _disks;
    private readonly CancellationTokenSource _voided = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watching;
    private readonly Task _guarding;
    private string? _reason;
    private bool _closed;

    public OfflineFrozenPoint(
        FreezeRequest request,
        QemuStorageDaemon daemon,
        OfflineEvidence evidence,
        EventSubscription events,
        DateTimeOffset time,
        bool isSaved)
    {
        _request = request;
        _daemon = daemon;
        _evidence = evidence;
        _events = events;
        _disks = new NbdDisks(request);
        Time = time;
        Consistency = isSaved ? Consistency.Crash : Consistency.Offline;
        if (isSaved)
        {
            Warnings =
            [
                $"Machine '{request.Machine.Name}' is saved: the memory it would go on with is not in the backup, "
                    + "and its disks are as after a power cut.",
            ];
        }

        _watching = WatchAsync();
        _guarding = GuardAsync();
    }

    public DateTimeOffset Time { get; }

    public Consistency Consistency { get; }

    public IReadOnlyList<string> Warnings { get; } = [];

    public bool ThawOwed => false;

    public CancellationToken Voided => _voided.Token;

    public string? VoidReason => Volatile.Read(ref _reason);

    public Task ConnectAsync(CancellationToken cancellationToken) => _disks.OpenAsync(cancellationToken);

    public IFrozenDisk Disk(string name) => _disks[name];

    public async Task EndAsync(CancellationToken cancellationToken)
    {
        await ConfirmAsync(cancellationToken);
        await CloseAsync();
    }

    public async Task ConfirmAsync(CancellationToken cancellationToken)
    {
        if (VoidReason is { } known)
            throw EngineException.Failed(known);
        if (await _evidence.WhyVoidAsync(cancellationToken) is { } reason)
            throw EngineException.Failed(reason);
    }

    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        _events.Dispose();
        await _watching;
        _stop.Dispose();
        _voided.Dispose();
    }

    private async Task CloseAsync()
    {
        if (_closed)
            return;
        _closed = true;
        await _disks.DisposeAsync();
        await _stop.CancelAsync();
        await _guarding;
        await _daemon.DisposeAsync();
    }

    // News that are missed (the connection was lost) are found by the last look; these only end the run sooner.
    private async Task WatchAsync()
    {
        try
        {
            await foreach (var happened in _events.ReadAllAsync(CancellationToken.None))
            {
                if (happened is LifecycleEvent { Change: LifecycleChange.Started })
                    Void(OfflineEvidence.Started(_request.Machine.Name));
            }
        }
        catch (InvalidOperationException e)
        {
            Void($"The hypervisor can no longer be watched: {e.Message}");
        }
    }

    private async Task GuardAsync()
    {
        try
        {
            await _daemon.Ended.WaitAsync(_stop.Token);
            Void($"The images of '{_request.Machine.Name}' can no longer be read: {await _daemon.LastWordsAsync()}");
        }
        catch (OperationCanceledException)
        {
            // The frozen point ends.
        }
    }

    private void Void(string reason)
    {
        if (Interlocked.CompareExchange(ref _reason, reason, null) is null)
            _voided.Cancel();
    }
}
