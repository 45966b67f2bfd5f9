// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;
using Tidemark.Engine.Runs;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Begins a frozen point: freeze, one transaction for backup and checkpoint over all disks, thaw.</summary>
internal static partial class LibvirtFreeze
{
    // Longer than libvirt waits for the machine's lock; the guest is frozen meanwhile.
    private static readonly TimeSpan BeginLimit = TimeSpan.FromSeconds(40);

    public static async Task<IFrozenPoint> BeginAsync(
        LibvirtConnection connection, Domain domain, FreezeRequest request, CancellationToken cancellationToken)
    {
        // libvirt's own word where it gives one: what processes say of themselves, any user of this host can say.
        var label = DomainDescription.Parse(await domain.GetXmlAsync(cancellationToken: cancellationToken)).Owner;
        RunFolder.Claim(
            request.Folder,
            label is { } owner ? ((uint)owner.UserId, (uint)owner.GroupId) : HostProcesses.OwnerOfQemu(request.Machine.Uuid));
        var events = await connection.SubscribeAsync(domain.Uuid, cancellationToken);
        try
        {
            var guest = new GuestFreeze(domain, request);
            var time = await HoldOrJudgeAsync(domain, request, guest, cancellationToken);
            var point = new LibvirtFrozenPoint(connection, domain, request, guest, events, time);
            await point.WatchScratchAsync(cancellationToken);
            return point;
        }
        catch
        {
            events.Dispose();
            throw;
        }
    }

    // What libvirt refused is looked into when the guest goes on: that asks it more, and it may be busy.
    private static async Task<DateTimeOffset> HoldOrJudgeAsync(
        Domain domain, FreezeRequest request, GuestFreeze guest, CancellationToken cancellationToken)
    {
        try
        {
            return await HoldAsync(domain, request, guest, cancellationToken);
        }
        catch (BeginRefusedException e)
        {
            // libvirt can fail after the transaction and keep the checkpoint it made.
            await CheckpointRemoval.RemoveAsync(domain, request.Checkpoint!, CancellationToken.None);
            throw await JudgeAsync(domain, request, e.Refusal);
        }
    }

    // Whatever happens between freeze and thaw, the guest is thawed before this returns, or the thaw stays owed.
    private static async Task<DateTimeOffset> HoldAsync(
        Domain domain, FreezeRequest request, GuestFreeze guest, CancellationToken cancellationToken)
    {
        DateTimeOffset time;
        try
        {
            await guest.FreezeAsync(cancellationToken);
            RequireFrozen(request, guest);
            await request.Reached(RunStep.Frozen);
            cancellationToken.ThrowIfCancellationRequested();
            time = await BeginJobAsync(domain, request);
            await request.Reached(RunStep.Begun);
        }
        finally
        {
            await guest.ThawAsync();
        }

        RequireFrozen(request, guest); // Only the thaw tells whether it lasted until then.
        await request.Reached(RunStep.Thawed);
        return time;
    }

    private static void RequireFrozen(FreezeRequest request, GuestFreeze guest)
    {
        if (request.Quiesce == Quiesce.Require && !guest.Frozen)
        {
            throw EngineException.Failed(
                $"Machine '{request.Machine.Name}' was not backed up: {guest.Problem}, and a freeze was required.",
                "--quiesce auto backs it up as after a power cut");
        }
    }

    private static async Task<DateTimeOffset> BeginJobAsync(Domain domain, FreezeRequest request)
    {
        var chosen = request.Disks.ToDictionary(disk => disk.Name, StringComparer.Ordinal);
        var all = request.Machine.Disks.Select(disk => disk.Name)
            .Concat(request.Machine.NotProtected.Select(disk => disk.Name)).ToList();
        // Every disk of the machine is listed: libvirt has other defaults for the ones that are not.
        var backup = new BackupDescription(
            RunFolder.Socket(request.Folder),
            all.Select(name => chosen.TryGetValue(name, out var disk)
                ? new BackupDisk(name, new BackupScratch(RunFolder.Scratch(request.Folder, name))) { Incremental = disk.Base }
                : new BackupDisk(name, Scratch: null)).ToList());
        var checkpoint = request.Checkpoint is null ? null : CheckpointXml.Write(new CheckpointDescription(
            request.Checkpoint,
            all.Select(name => new CheckpointDisk(name, chosen.TryGetValue(name, out var disk) && disk.Track)).ToList()));
        try
        {
            var before = DateTimeOffset.UtcNow;
            await domain.BeginBackupAsync(BackupXml.Write(backup), checkpoint, cancellationToken: CancellationToken.None)
                .WaitAsync(BeginLimit, CancellationToken.None);
            return before;
        }
        catch (TimeoutException e)
        {
            // What it may still do is undone as what a dead run had asked for.
            throw LibvirtFailures.NoAnswer(request.Machine.Name, BeginLimit, e);
        }
        catch (LibvirtException e) when (e.Code == LibvirtErrorCode.CheckpointInconsistent)
        {
            throw new CheckpointUnusableException(DiskNamedIn(e.LibvirtMessage, chosen.Keys), e.LibvirtMessage);
        }
        catch (LibvirtException e) when (IsBlockJob(e.LibvirtMessage))
        {
            // Refused before anything was begun: jobs without a mirror, a pull for instance, are told by no earlier question.
            throw EngineException.Busy(
                $"Machine '{request.Machine.Name}' has a block job running (a copy, pull or commit of images): {e.LibvirtMessage}.");
        }
        catch (LibvirtException e) when (request.Checkpoint is not null)
        {
            throw new BeginRefusedException(e);
        }
    }

    private static bool IsBlockJob(string message) =>
        message.Contains("has a blockjob assigned", StringComparison.Ordinal)
        || message.Contains("in active block job", StringComparison.Ordinal);

    // What QEMU says of bitmaps comes as an internal error with its words in it.
    private static async Task<Exception> JudgeAsync(Domain domain, FreezeRequest request, LibvirtException failure)
    {
        var text = failure.LibvirtMessage;
        if (text.Contains("is currently in use by another operation", StringComparison.Ordinal))
            return new CheckpointUnusableException("", text) { Health = BitmapHealth.Busy };
        if (text.Contains("is readonly and cannot be modified", StringComparison.Ordinal)
            || text.Contains("is inconsistent and cannot be used", StringComparison.Ordinal))
            return new CheckpointUnusableException("", text);
        // "Can't make bitmap 'NAME' persistent in 'NODE': WHY": version 2, no more room for bitmaps, too many of them.
        var match = NoNewBitmap().Match(text);
        if (!match.Success)
        {
            // Whatever QEMU does not like about bitmaps, a full read may still be had.
            return request.Disks.Any(disk => disk.Base is not null) && text.Contains("QEMU command 'transaction'", StringComparison.Ordinal)
                ? new CheckpointUnusableException("", text) { Health = BitmapHealth.Refused }
                : failure;
        }

        var nodes = BlockNodes.Parse(await domain.QemuMonitorCommandAsync(BlockNodes.Query));
        var description = DomainDescription.Parse(await domain.GetXmlAsync());
        var disk = description.Disks.FirstOrDefault(disk =>
            nodes.GetValueOrDefault(disk.Alias ?? "")?.Node == match.Groups["node"].Value);
        return disk is null ? failure : new TrackingRefusedException(disk.Target, match.Groups["why"].Value.TrimEnd('.'));
    }

    [GeneratedRegex("Can't make bitmap '[^']*' persistent in '(?<node>[^']*)': (?<why>.*)")]
    private static partial Regex NoNewBitmap();

    private sealed class BeginRefusedException(LibvirtException refusal) : Exception(refusal.Message, refusal)
    {
        public LibvirtException Refusal => refusal;
    }

    private static string DiskNamedIn(string message, IEnumerable<string> disks) =>
        disks.FirstOrDefault(disk => message.Contains($"'{disk}'", StringComparison.Ordinal)) ?? "";
}
