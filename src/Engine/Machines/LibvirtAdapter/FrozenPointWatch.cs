// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>
/// Watches what can void a frozen point: the job or the machine ends, or the scratch space fills up. When that is full QEMU
/// pauses the guest, so the run is given up before, at a reserve, or at the pause; ending the job then frees the space.
/// </summary>
internal sealed class FrozenPointWatch(
    LibvirtConnection connection, Domain domain, string socket, string folder, EventSubscription events)
    : IAsyncDisposable
{
    private const long SmallestStep = 64 * 1024;
    private const long LargestReserve = 256L << 20;
    private static readonly TimeSpan ReopenPatience = TimeSpan.FromSeconds(60);

    private readonly CancellationTokenSource _voided = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<string, int> _scratch = new(StringComparer.Ordinal);
    private string? _reason;
    private long _reserve;
    private Task _watching = Task.CompletedTask;

    private string Paused =>
        $"The guest was paused by an I/O error, most likely because the scratch space in '{folder}' is full; this run is void and the "
        + "guest is resumed.";

    private string Stopped => $"Machine '{domain.Name}' stopped during its backup; the run is void.";

    public CancellationToken Voided => _voided.Token;

    public string? VoidReason => Volatile.Read(ref _reason);

    /// <summary>Sets a threshold on every scratch file and begins to watch.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        _reserve = Math.Min(LargestReserve, FreeSpace() / 8);
        foreach (var disk in BackupXml.Read(await domain.GetBackupXmlAsync(cancellationToken)).Disks)
        {
            if (disk.ScratchIndex is { } index)
                _scratch.Add(disk.Target, index);
        }

        _watching = WatchAsync();
        await SetThresholdsAsync();
    }

    public async ValueTask DisposeAsync()
    {
        events.Dispose(); // who waits for one ends; what is being handled is cancelled
        await _stop.CancelAsync();
        await _watching;
        _stop.Dispose();
        _voided.Dispose();
    }

    private async Task WatchAsync()
    {
        try
        {
            await foreach (var happened in events.ReadAllAsync(_stop.Token))
                await HandleAsync(happened);
        }
        catch (OperationCanceledException)
        {
            // The frozen point ends.
        }
        catch (Exception e)
        {
            Void($"The hypervisor can no longer be watched: {e.Message}");
        }
    }

    private async Task HandleAsync(LibvirtEvent happened)
    {
        switch (happened)
        {
            case BlockThresholdEvent threshold when FreeSpace() <= _reserve:
                Void($"The scratch space in '{folder}' is nearly full ({threshold.Device} passed {threshold.Threshold} bytes); "
                    + "the guest goes on, this run is void.");
                break;
            case BlockThresholdEvent threshold:
                await SetThresholdAsync(threshold.Device, threshold.Threshold + threshold.Excess);
                break;
            case LifecycleEvent { IsIoErrorPause: true }:
            case IoErrorEvent { Reason: "enospc" }:
                Void(Paused);
                break;
            case LifecycleEvent { Change: LifecycleChange.Stopped or LifecycleChange.Crashed }:
                Void(Stopped);
                break;
            case JobCompletedEvent:
                await HandleEndAsync();
                break;
            case ConnectionLostEvent:
                await connection.ReopenAsync(ReopenPatience, _stop.Token);
                await CatchUpAsync();
                break;
        }
    }

    // What happened while nobody listened is told by no event any more.
    private async Task CatchUpAsync()
    {
        if (!await BackupJob.IsOursAsync(domain, socket, _stop.Token))
            Void($"The connection to libvirt was lost, and the backup job of '{domain.Name}' with it; the run is void.");
        else if ((await domain.GetStatusAsync(_stop.Token)).IsIoErrorPause)
            Void(Paused);
        else if (FreeSpace() <= _reserve)
            Void($"The scratch space in '{folder}' is nearly full; the guest goes on, this run is void.");
        else
            await SetThresholdsAsync();
    }

    // News of the job before may arrive late, so the event alone proves nothing; and it comes before the news that a machine stopped.
    private async Task HandleEndAsync()
    {
        if (await BackupJob.IsOursAsync(domain, socket, _stop.Token))
            return;
        Void((await domain.GetStatusAsync(_stop.Token)).IsActive
            ? $"The hypervisor's backup job of '{domain.Name}' ended before all was read; the run is void."
            : Stopped);
    }

    // One that is passed already reports with the next write.
    private async Task SetThresholdsAsync()
    {
        foreach (var (disk, index) in _scratch)
            await SetThresholdAsync($"{disk}[{index}]", written: 0);
    }

    private async Task SetThresholdAsync(string device, long written)
    {
        var step = Math.Max(SmallestStep, (FreeSpace() - _reserve) / Math.Max(1, _scratch.Count) / 2);
        try
        {
            await domain.SetBlockThresholdAsync(device, written + step, CancellationToken.None);
        }
        catch (LibvirtException e) when (e is not LibvirtConnectionException)
        {
            // The job is ending and its scratch is gone. The pause of the guest is watched all the same.
        }
    }

    private long FreeSpace() => new DriveInfo(folder).AvailableFreeSpace;

    private void Void(string reason)
    {
        if (Interlocked.CompareExchange(ref _reason, reason, null) is not null)
            return;
        _voided.Cancel();
    }
}
