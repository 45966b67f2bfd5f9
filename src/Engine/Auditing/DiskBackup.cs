// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Repositories;
using Tidemark.Storage;

namespace Tidemark.Engine.Auditing;

/// <summary>
/// Backs up the disks of a frozen point, one after the other, and audits those whose bitmaps are trusted. Where an audit finds a bitmap
/// wrong, the disk is begun anew within the same run and the same frozen point: its changes are read again, and everything else is
/// compared. That tells which chunks were missed, hence which earlier points may lack changes.
/// </summary>
/// <param name="stored">The run in the repository.</param>
/// <param name="frozen">Connected.</param>
/// <param name="repository">Where the machine's earlier points are.</param>
/// <param name="points">Those that are not deleted, oldest first.</param>
/// <param name="budget">How much is audited.</param>
/// <param name="warn">Takes sentences for the restore point.</param>
internal sealed class DiskBackup(
    Storage.BackupRun stored, IFrozenPoint frozen, RepositorySession repository, IReadOnlyList<RestorePoint> points,
    AuditBudget budget, Action<string> warn)
{
    // A suspect that is gone may still be brought back for a while; how long is a matter of space only.
    private static readonly TimeSpan SuspectsKept = TimeSpan.FromDays(30);

    /// <param name="plan">What to do.</param>
    /// <param name="origin">The tree to inherit from, or to compare with.</param>
    /// <param name="checkpoint">The new checkpoint if it covers this disk.</param>
    /// <param name="progress">Bytes done, and of how many.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<DraftDisk> ReadAsync(
        DiskPlan plan, TreeRef? origin, string? checkpoint, Action<long, long> progress, CancellationToken cancellationToken)
    {
        var disk = frozen.Disk(plan.Disk.Name);
        var chunks = (plan.Disk.Size + (1L << plan.ChunkLog2) - 1) >> plan.ChunkLog2;
        var before = plan is { IsIncremental: true, Previous: { } previous } ? CoverageOf(previous, chunks) : Coverage.None(chunks);
        var suspicion = new Suspicion(before);
        var audit = plan.IsIncremental ? await PlanAsync(disk, plan, chunks, cancellationToken) : null;
        var transfer = Transfer(audit);
        var result = await transfer.RunAsync(cancellationToken);
        long wasted = 0;
        if (result is null)
        {
            wasted = transfer.ReadBytes + transfer.AuditedBytes;
            audit = new AuditPlan(AuditWindow.Whole(chunks), []);
            transfer = Transfer(audit);
            result = await transfer.RunAsync(cancellationToken)
                ?? throw new InvalidOperationException("An audit of a whole disk gave up.");
        }

        if (suspicion.IsFounded)
            plan = Doubted(plan, suspicion);
        var window = audit?.Window ?? AuditWindow.Whole(chunks);
        var details = PointDocuments.Details(plan, checkpoint, transfer.ReadBytes) with
        {
            Audit = new DiskAudit
            {
                Seq = stored.Seq,
                Bytes = transfer.AuditedBytes,
                Next = window.Next,
                Covered = before.With(window, stored.Seq, stored.Id.ToString(), frozen.Time).Spans,
                Witnesses = WitnessesOf(result, plan.Previous, chunks),
            },
            Suspects = await SuspectsAsync(plan, suspicion, cancellationToken),
            Missed = MissedOf(plan, suspicion),
        };
        if (suspicion.IsFounded)
            details = details with { ReadBytes = wasted + transfer.ReadBytes + transfer.AuditedBytes };
        if (transfer.HurtBytes > 0)
        {
            details = details with { Reason = $"{plan.Reason}; {transfer.HurtBytes} bytes read again that the repository had lost" };
            warn($"Disk '{plan.Disk.Name}': {result.HealedChunks} chunks that were lost in the repository are stored again.");
        }

        if (plan.FellBack)
            warn($"Disk '{plan.Disk.Name}' was read in full: {plan.Reason}.");
        return new DraftDisk(result, details);

        DiskTransfer Transfer(AuditPlan? audit)
        {
            var writer = stored.OpenDisk(plan.Disk.Name, plan.Disk.Size, plan.ChunkLog2, origin, suspicion.Found);
            return new DiskTransfer(disk, plan, audit, suspicion, writer, progress);
        }
    }

    private async Task<AuditPlan> PlanAsync(IFrozenDisk disk, DiskPlan plan, long chunks, CancellationToken cancellationToken)
    {
        long changed = 0;
        if (budget.NeedsChanges(plan.Disk.Size))
        {
            await foreach (var range in disk.ChangedAsync(cancellationToken))
                changed += range.Length;
        }

        var last = plan.Previous?.Audit;
        var length = budget.ChunksOf(plan.Disk.Size, 1 << plan.ChunkLog2, changed);
        return new AuditPlan(
            AuditWindow.From(last?.Next ?? 0, length, chunks),
            [.. (last?.Witnesses ?? []).Where(chunk => chunk >= 0 && chunk < chunks).Distinct().Order()]);
    }

    private static Coverage CoverageOf(PreviousDisk previous, long chunks) => previous switch
    {
        { Audit: { } audit } => Coverage.Read(audit.Covered, chunks),
        { WasFull: true } => Coverage.Whole(chunks, previous.Seq, previous.Run.ToString("n"), previous.Time), // of an older program
        _ => Coverage.None(chunks),
    };

    // Chunks that changed in earlier runs still show what the disk was then: they fill up where this run changed few.
    private static IReadOnlyList<long> WitnessesOf(DiskResult result, PreviousDisk? previous, long chunks) =>
        [.. result.SomeChanged.Concat(previous?.Audit?.Witnesses ?? []).Where(chunk => chunk >= 0 && chunk < chunks)
            .Distinct().Take(AuditedChunks.MostWitnesses)];

    private static DiskPlan Doubted(DiskPlan plan, Suspicion suspicion) => plan with
    {
        Base = null,
        FellBack = true,
        Reason = string.Create(
            CultureInfo.InvariantCulture,
            $"bytes from {suspicion.Chunk << plan.ChunkLog2} on are not what the last backup read, though the bitmap of checkpoint "
            + $"'{plan.Base}' calls them unchanged: the image was shrunk and grown again, put back to an older state, or written to "
            + $"while nobody watched"),
    };

    // All that any point knows, since the points of one disk do not always follow one another: it may have been left out, moved to
    // another key domain, or been read while the machine was off.
    private IReadOnlyList<MissedChanges>? MissedOf(DiskPlan plan, Suspicion suspicion)
    {
        var known = points.Where(point => point.Copied is null).SelectMany(point => point.Disks)
            .Where(disk => disk.Name == plan.Disk.Name).SelectMany(disk => disk.Missed ?? []);
        if (suspicion.IsFounded)
            known = known.Append(new MissedChanges(suspicion.LastGood.Seq, stored.Seq, Since(suspicion), frozen.Time));
        return Missed.Join(known) is { Count: > 0 } joined ? joined : null;
    }

    // The same point by point, for programs that know nothing of ranges: what was doubted before, and the points since the last one whose
    // run compared what is wrong now.
    private async Task<IReadOnlyList<SuspectPoint>?> SuspectsAsync(
        DiskPlan plan, Suspicion suspicion, CancellationToken cancellationToken)
    {
        var present = points.Select(point => point.Time).ToHashSet();
        var suspects = (plan.Previous?.Suspects ?? [])
            .Where(suspect => present.Contains(suspect.Time) || frozen.Time - suspect.Found < SuspectsKept).ToList();
        if (suspicion.IsFounded)
        {
            var good = suspicion.LastGood;
            var found = (await repository.Repository.ListUnexpiredAsync(stored.MachineId, cancellationToken)).Points.Reverse()
                .Where(point => point.Copied is null && point.Seq < stored.Seq
                    && point.Disks.FirstOrDefault(disk => disk.Name == plan.Disk.Name) is { } disk
                    && Missed.SeqOf(point, disk) > good.Seq)
                .ToList();
            suspects.RemoveAll(suspect => found.Exists(point => point.Time == suspect.Time));
            suspects.AddRange(found.Select(point =>
                new SuspectPoint(point.Id.Value.ToString("n"), point.Time, Since(suspicion), frozen.Time)));
            var shown = found.Where(point => present.Contains(point.Time)).Select(point => point.ShortId).ToList();
            if (shown.Count > 0)
                warn(PointMarks.Sentence(plan.Disk.Name, shown, Since(suspicion)));
        }

        return suspects.Count > 0 ? suspects : null;
    }

    private static DateTimeOffset? Since(Suspicion suspicion) => suspicion.LastGood.Seq == 0 ? null : suspicion.LastGood.Time;
}
