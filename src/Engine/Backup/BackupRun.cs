// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>
/// One backup of one machine. Its steps, in order, and what a death right after each of them leaves:
/// <code>
/// Recovered   the machine's lock is held and dead runs are cleaned up     nothing
/// Planned     per disk: changes since a checkpoint, or all and why        nothing
/// Registered  the repository pins what is inherited                       a run without an end (pins only)
/// Journaled   what may be left on the machine is on disk                  the entry
/// Guarded     the guardian watches: from here it cleans up by itself      the entry, cleaned by the guardian
/// Frozen      the guest's file systems stand still                        … and a frozen guest, thawed within 10 s
/// Begun       backup job and new checkpoint, one transaction              … and job, scratch files, checkpoint
/// Thawed      the guest goes on
/// Connected   every NBD export is open
/// AllDisksRead, Ended    the hypervisor's job is over                     the entry and the new checkpoint
/// Stored, Committed      the restore point exists: only now the new checkpoint counts
/// Released    checkpoints that no disk's newest point needs are gone      older checkpoints, removed by the next run
/// Cleared     the journal entry is gone                                   nothing
/// </code>
/// </summary>
public sealed class BackupRun
{
    private const int Attempts = 3;

    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(90);

    private readonly BackupContext _context;
    private readonly BackupOptions _options;
    private readonly Journal _journal;
    private readonly WaitingGuardian _waiting;
    private readonly List<string> _warnings = [];
    private Machine _machine = null!;
    private BackupPlan _plan = null!;
    private RunId _id;
    private string? _checkpoint;
    private bool _owesThaw;

    private BackupRun(BackupContext context, BackupOptions options, WaitingGuardian waiting)
    {
        (_context, _waiting) = (context, waiting);
        _options = KeyDomains.Resolve(options, context.Repository);
        _journal = new Journal(context.Folders);
    }

    /// <summary>Backs up a machine and returns the new restore point.</summary>
    /// <exception cref="EngineException">There is no new restore point, the guest runs on, and nothing is left behind.</exception>
    public static async Task<PointInfo> RunAsync(
        BackupContext context, string machineUuid, BackupOptions options, CancellationToken cancellationToken)
    {
        using var machineLock = await MachineLock.TryTakeAsync(context.Folders, machineUuid, LockPatience, cancellationToken)
            ?? throw await BusyAsync(context.Hypervisor, machineUuid, cancellationToken);
        await using var waiting = context.Guardians.ForRun();
        try
        {
            return await new BackupRun(context, options, waiting).ExecuteAsync(machineUuid, cancellationToken);
        }
        catch (Exception e) when (e is not (EngineException or OperationCanceledException))
        {
            throw Failures.Translate(e);
        }
    }

    /// <summary>What a backup would do now.</summary>
    public static async Task<BackupPlan> PlanAsync(
        IHypervisor hypervisor, RepositorySession repository, Machine machine, BackupOptions options, CancellationToken cancellationToken)
    {
        var points = await repository.PointsOfAsync(machine.Uuid, cancellationToken);
        var lineage = await Lineage.ReadAsync(hypervisor, repository, machine, points, null, _ => { }, cancellationToken);
        return BackupPlanner.Plan(machine, lineage.AfterHealing, lineage.PreviousDisks, KeyDomains.Resolve(options, repository));
    }

    private static async Task<EngineException> BusyAsync(IHypervisor hypervisor, string machineUuid, CancellationToken cancellationToken)
    {
        var name = (await hypervisor.LookUpAsync(machineUuid, cancellationToken))?.Name ?? machineUuid;
        return EngineException.Busy(
            $"Another command is at work on machine '{name}' on this host and was not done after {LockPatience.TotalSeconds:0} s.",
            $"tidemark backup {name}, when that one has ended");
    }

    private async Task<IReadOnlyList<RestorePoint>> PrepareAsync(string machineUuid, CancellationToken cancellationToken)
    {
        foreach (var found in await new Recovery(_context.Hypervisor, _journal).CleanMachineAsync(machineUuid, cancellationToken))
            Warn(found);
        // Beside each other: one waits for the hypervisor, the other for the repository.
        var finding = _context.Hypervisor.FindAsync(machineUuid, cancellationToken);
        var points = _context.Repository.PointsOfAsync(machineUuid, cancellationToken);
        await Task.WhenAll(finding, points);
        _machine = await finding
            ?? throw EngineException.Usage($"The hypervisor knows no machine '{machineUuid}'.", "tidemark machines");
        if (_machine.JobActive)
            throw EngineException.Busy($"Machine '{_machine.Name}' has a job of the hypervisor running (backup, migration, block copy).");
        return await points;
    }

    // A run that was revoked, or whose base was deleted meanwhile, has left nothing behind: it is begun anew.
    private async Task<PointInfo> ExecuteAsync(string machineUuid, CancellationToken cancellationToken)
    {
        for (var left = Attempts; ; left--)
        {
            var points = await PrepareAsync(machineUuid, cancellationToken);
            try
            {
                return await PlanAndRunAsync(points, cancellationToken);
            }
            catch (Exception e) when (left > 1 && e is RunRevokedException or BaseUnusableException)
            {
                Warn($"The backup was begun anew: {e.Message}");
            }
        }
    }

    private async Task<PointInfo> PlanAndRunAsync(IReadOnlyList<RestorePoint> points, CancellationToken cancellationToken)
    {
        var homes = new RecordHomes(_context.Folders, _context.CheckpointFolder, _machine.Uuid);
        var lineage = await Lineage.ReadAsync(
            _context.Hypervisor, _context.Repository, _machine, points, homes, Warn, cancellationToken);
        _machine = await lineage.HealAsync(text => _context.Observer(new Notice(_machine.Name, text)), cancellationToken);
        await ReachedAsync(RunStep.Recovered);
        while (true)
        {
            _plan = BackupPlanner.Plan(_machine, lineage.Checkpoints, lineage.PreviousDisks, _options);
            await ReachedAsync(RunStep.Planned);
            try
            {
                return await AttemptAsync(lineage, cancellationToken);
            }
            catch (CheckpointUnusableException e) when (_plan.Disks.Any(disk => disk.IsIncremental))
            {
                // libvirt, or the disk itself, knows better than we did: that disk (or, if it is not named, every disk) is read in full.
                if (e.Health == BitmapHealth.Refused)
                    Warn($"The changes since the last backup cannot be read: {e.Message.TrimEnd('.')}.");
                var disks = e.Disk.Length > 0 ? [e.Disk] : _plan.Disks.Where(disk => disk.IsIncremental).Select(disk => disk.Disk.Name);
                _machine = _machine.WithBitmaps(disks.ToHashSet(StringComparer.Ordinal), e.Health);
            }
            catch (TrackingRefusedException e) when (_plan.Disks.Any(disk => disk.Track && disk.Disk.Name == e.Disk))
            {
                Warn($"Changes of disk '{e.Disk}' cannot be tracked: {e.Reason}.");
                _machine = _machine.WithUntrackable(e.Disk, $"its image takes no new bitmap ({e.Reason})");
            }
        }
    }

    private async Task<PointInfo> AttemptAsync(Lineage lineage, CancellationToken cancellationToken)
    {
        _id = RunId.New();
        _checkpoint = _plan.Tracks ? new CheckpointName(_context.Repository.Part, _id.Value).ToString() : null;
        await using var stored = await _context.Repository.Repository.BeginRunAsync(
            new MachineId(_machine.Uuid),
            new BackupRunOptions
            {
                Id = _id,
                Domain = _options.Domain,
                Bases = lineage.BasesOf(_plan.Disks),
                CheckAll = _options.CheckAllChunks,
            },
            cancellationToken);
        await ReachedAsync(RunStep.Registered);
        var entry = NewEntry();
        await _journal.WriteAsync(entry, cancellationToken);
        await ReachedAsync(RunStep.Journaled);
        var guardian = await GuardedAsync(entry, cancellationToken);
        await using (guardian)
        {
            await ReachedAsync(RunStep.Guarded);
            try
            {
                RunFolder.Create(_context.Folders, entry.Folder);
                var point = await TransferAsync(stored, lineage, entry, guardian, cancellationToken);
                await FinishAsync(lineage, point, entry, guardian);
                await MarkKeeper.TryKeepAsync(
                    _context.Repository.Repository, point, text => _context.Observer(new Notice(_machine.Name, text)));
                return RepositorySession.Describe(point with { Warnings = [.. _warnings] });
            }
            catch
            {
                await UndoAsync(stored, entry, guardian);
                throw;
            }
        }
    }

    private async Task<RestorePoint> TransferAsync(
        Storage.BackupRun stored, Lineage lineage, JournalEntry entry, GuardianProcess guardian, CancellationToken cancellationToken)
    {
        await using var frozen = await FreezeAsync(entry, guardian, cancellationToken);
        _owesThaw = frozen.ThawOwed;
        _warnings.AddRange(frozen.Warnings);
        using var valid = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, frozen.Voided);
        try
        {
            await guardian.TellAsync(GuardianSignal.Connecting);
            await frozen.ConnectAsync(valid.Token);
            await guardian.TellAsync(GuardianSignal.Connected);
            await ReachedAsync(RunStep.Connected);
            // Before the disks, which may take hours: definition and TPM state are to be those of the frozen instant.
            var definition = await StoredDefinition.TakeAsync(_context.Hypervisor, _machine, stored, valid.Token);
            _warnings.AddRange(definition.Warnings);
            var disks = await ReadDisksAsync(stored, lineage, frozen, valid.Token);
            await ReachedAsync(RunStep.AllDisksRead);
            await frozen.EndAsync(valid.Token);
            await ReachedAsync(RunStep.Ended);
            await ReachedAsync(RunStep.Stored);
            await frozen.ConfirmAsync(cancellationToken);
            _warnings.AddRange(
                _plan.NotProtected.Where(disk => disk.IsLoss).Select(disk => $"Disk '{disk.Name}' is not protected: {disk.Reason}."));
            var draft = PointDocuments.Draft(_machine, _plan, frozen, definition, disks, _options.Tags, _warnings)
                with { Checkpoints = PointDocuments.Records(lineage.Next(_plan, _checkpoint, frozen.Time), _checkpoint) };
            return await CommitAsync(stored, draft, cancellationToken);
        }
        catch (Exception e) when (frozen.Voided.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw EngineException.Failed(frozen.VoidReason ?? "The frozen point is void.", inner: e);
        }
    }

    private async Task<IFrozenPoint> FreezeAsync(JournalEntry entry, GuardianProcess guardian, CancellationToken cancellationToken)
    {
        var request = new FreezeRequest
        {
            Machine = _machine,
            Disks = _plan.Disks.Select(disk => new FreezeDisk(disk.Disk.Name, disk.Base, disk.Track)).ToList(),
            Checkpoint = _checkpoint,
            Folder = entry.Folder,
            Quiesce = _options.Quiesce,
            Reached = ReachedAsync,
            FreezeChanged = state => FreezeChangedAsync(guardian, state),
        };
        if (_machine.State == MachineState.Off)
            return await _context.Hypervisor.FreezeAsync(request, cancellationToken); // no freeze, and nothing to do around it
        return await Hooks.AroundAsync(
            _options, entry, _journal, Warn, () => _context.Hypervisor.FreezeAsync(request, cancellationToken), cancellationToken);
    }

    private async Task<IReadOnlyList<DraftDisk>> ReadDisksAsync(
        Storage.BackupRun stored, Lineage lineage, IFrozenPoint frozen, CancellationToken cancellationToken)
    {
        var drafts = new List<DraftDisk>();
        var backup = new DiskBackup(stored, frozen, _context.Repository, lineage.Points, _options.Audit, Warn);
        foreach (var plan in _plan.Disks)
        {
            var disk = frozen.Disk(plan.Disk.Name);
            if (disk.Source.Size != plan.Disk.Size)
            {
                throw EngineException.Failed(
                    $"Disk '{plan.Disk.Name}' of '{_machine.Name}' was resized while the backup began: planned with {plan.Disk.Size} "
                    + $"bytes, frozen with {disk.Source.Size}; run it again.");
            }

            drafts.Add(await backup.ReadAsync(
                plan,
                lineage.OriginOf(plan),
                plan.Track ? _checkpoint : null,
                (done, total) => _context.Observer(new DiskProgress(_machine.Name, plan.Disk.Name, done, total)),
                cancellationToken));
            if (drafts.Count == 1)
                await ReachedAsync(RunStep.FirstDiskRead);
        }

        return drafts;
    }

    private async Task<RestorePoint> CommitAsync(
        Storage.BackupRun stored, RestorePointDraft draft, CancellationToken cancellationToken)
    {
        RestorePoint point;
        try
        {
            point = await stored.CommitAsync(draft, cancellationToken);
        }
        catch (CommitUnknownException)
        {
            // Ask the store again, in the only way that settles it.
            if (await _context.Repository.FenceAsync(_machine.Uuid, _id.Value, CancellationToken.None) != RunFate.Committed)
                throw;
            point = (await _context.Repository.PointsOfAsync(_machine.Uuid, CancellationToken.None)).Single(found => found.Id == _id);
        }

        await ReachedAsync(RunStep.Committed);
        _context.Observer(new StagesMeasured(
            _machine.Name,
            Enum.GetValues<RunStage>().ToDictionary(
                stage => stage.ToString(), stage => stored.Counters[stage], StringComparer.Ordinal)));
        return point;
    }

    // The restore point exists: nothing that fails from here on makes the backup a failure.
    private async Task FinishAsync(Lineage lineage, RestorePoint point, JournalEntry entry, GuardianProcess guardian)
    {
        try
        {
            await lineage.ReleaseAsync(point, Warn);
            await ReachedAsync(RunStep.Released);
            await ClearAsync(entry, guardian);
            await ReachedAsync(RunStep.Cleared);
        }
        catch (Exception e)
        {
            Warn($"The restore point is complete, but cleaning up after it is left to the guardian and the next run: {e.Message}");
        }
    }

    private JournalEntry NewEntry() => new()
    {
        Run = _id.Value,
        Process = Environment.ProcessId,
        MachineUuid = _machine.Uuid,
        MachineName = _machine.Name,
        Connect = _context.Hypervisor.Connect,
        Repository = _context.Repository.Url,
        RepositoryPart = _context.Repository.Part,
        Checkpoint = _checkpoint,
        Folder = RunFolder.PathOf(_context.Folders, _id.Value),
        Disks = _plan.Disks.Select(disk => disk.Disk.Name).ToList(),
        MayFreeze = _options.Quiesce != Quiesce.Off && _machine is { AgentConnected: true, State: MachineState.Running },
    };

    private async Task<GuardianProcess> GuardedAsync(JournalEntry entry, CancellationToken cancellationToken)
    {
        GuardianProcess? guardian = null;
        try
        {
            guardian = await _waiting.TakeAsync();
            await guardian.GuardAsync(entry, cancellationToken);
            return guardian;
        }
        catch
        {
            _journal.Remove(entry.Run);
            if (guardian is not null)
                await guardian.AbandonAsync();
            throw;
        }
    }

    private async Task FreezeChangedAsync(GuardianProcess guardian, FreezeState state)
    {
        _owesThaw = state == FreezeState.MayBeFrozen;
        await guardian.FreezeChangedAsync(state);
    }

    // Everything of this run is gone from the machine; a thaw that no agent confirmed stays owed.
    private async Task ClearAsync(JournalEntry entry, GuardianProcess guardian)
    {
        RunFolder.Remove(entry.Folder);
        if (_owesThaw)
            await _journal.WriteAsync(entry with { ThawOwed = true }, CancellationToken.None);
        else
            _journal.Remove(entry.Run);
        await guardian.TellAsync(GuardianSignal.Done);
    }

    // The frozen point is disposed already. If the point was committed after all, its checkpoint must stay; so the tombstone
    // first, then the rest, as for a dead run. What fails here is left to the guardian, which is told nothing and so acts.
    private async Task UndoAsync(Storage.BackupRun stored, JournalEntry entry, GuardianProcess guardian)
    {
        try
        {
            await stored.DisposeAsync();
            if (await new Recovery(_context.Hypervisor, _journal).CleanAsync(entry, TimeSpan.Zero, CancellationToken.None))
                await guardian.TellAsync(GuardianSignal.Done);
        }
        catch (Exception e)
        {
            Warn($"The clean-up is left to the guardian: {e.Message}");
        }
    }

    private Task ReachedAsync(RunStep step)
    {
        _context.Observer(new StepReached(_machine.Name, step));
        return Task.CompletedTask;
    }

    private void Warn(string text)
    {
        _warnings.Add(text);
        if (_machine is not null)
            _context.Observer(new Notice(_machine.Name, text));
    }
}
