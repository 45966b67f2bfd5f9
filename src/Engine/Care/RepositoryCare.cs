// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Storage;

namespace Tidemark.Engine.Care;

/// <summary>Deleting restore points and giving back their space; protection and tags. Works beside backups and restores.</summary>
public sealed class RepositoryCare(RepositorySession session, TimeProvider clock)
{
    private Repository Repository => session.Repository;

    /// <summary>Deletes points, or disks of them: all or, when one of them is protected, none.</summary>
    /// <exception cref="EngineException">A point is protected, or has no such disk.</exception>
    public Task<ForgetResult> ForgetAsync(
        IReadOnlyList<PointInfo> points, IReadOnlyList<string> disks, CancellationToken cancellationToken) => GuardedAsync(async () =>
    {
        var found = new List<RestorePoint>();
        foreach (var info in points)
        {
            var point = await session.FindAsync(info, cancellationToken);
            foreach (var disk in disks)
            {
                if (point.Disks.All(other => other.Name != disk))
                    throw EngineException.Usage($"Restore point '{info.Id}' has no disk '{disk}'.", $"tidemark show {info.Id}");
            }

            if (point.Label.IsProtectedAt(clock.GetUtcNow()))
                throw EngineException.Failed($"Restore point '{info.Id}' is protected.", $"tidemark protect {info.Id} --off");
            found.Add(point);
        }

        foreach (var machine in found.Select(point => point.MachineId).Distinct())
            await MarkKeeper.KeepAsync(Repository, machine, [], cancellationToken);
        foreach (var point in found)
        {
            // A point without disks is none.
            var whole = disks.Count == 0 || point.Disks.All(disk => disks.Contains(disk.Name, StringComparer.Ordinal));
            IReadOnlyList<string?> retired = whole ? [null] : [.. disks];
            foreach (var disk in retired)
                await Repository.RetireAsync(point.MachineId, point.Id, disk, cancellationToken);
        }

        return new ForgetResult(found.Select(point => point.ShortId).ToList(), disks, null);
    });

    /// <summary>Deletes a point that can't be read, by the name that a check shows it under: MACHINE/RUN.</summary>
    /// <exception cref="EngineException">It is no such name, is protected, can be read, or was made by a later program.</exception>
    public Task<ForgetResult> ForgetDamagedAsync(IReadOnlyList<string> names, CancellationToken cancellationToken) =>
        GuardedAsync(async () =>
        {
            var points = names.Select(ParseDamaged).ToList();
            foreach (var (machine, run) in points)
            {
                if ((await Repository.LabelOfAsync(machine, run, cancellationToken)).IsProtectedAt(clock.GetUtcNow()))
                    throw EngineException.Failed($"Restore point '{run.ShortId}' is protected.", $"tidemark protect {run.ShortId} --off");
            }

            foreach (var machine in points.Select(point => point.Machine).Distinct())
                await MarkKeeper.KeepAsync(Repository, machine, [], cancellationToken);
            foreach (var (machine, run) in points)
            {
                try
                {
                    await Repository.RetireDamagedAsync(machine, run, cancellationToken);
                }
                catch (InvalidOperationException e)
                {
                    throw EngineException.Usage(e.Message, $"tidemark forget {run.ShortId}");
                }
            }

            return new ForgetResult(points.Select(point => point.Run.ShortId).ToList(), [], null);
        });

    private static (MachineId Machine, RunId Run) ParseDamaged(string name)
    {
        const string Folder = "points/";
        var parts = (name.StartsWith(Folder, StringComparison.Ordinal) ? name[Folder.Length..] : name).Split('/');
        return parts.Length == 2 && MachineId.IsValid(parts[0]) && RunId.TryParse(parts[1], out var run)
            ? (new MachineId(parts[0]), run)
            : throw EngineException.Usage($"'{name}' is not of the form MACHINE/RUN, as 'tidemark verify' shows a damaged point.");
    }

    /// <summary>Points that were deleted and may still be brought back, oldest first within a machine.</summary>
    public Task<IReadOnlyList<PointInfo>> DeletedAsync(CancellationToken cancellationToken) => GuardedAsync(
        async () => (IReadOnlyList<PointInfo>)(await Repository.ListDeletedAsync(null, cancellationToken)).Points.Reverse()
            .Select(RepositorySession.Describe).ToList());

    /// <summary>Brings a deleted point back, as a new one.</summary>
    /// <exception cref="EngineException">It is too late.</exception>
    public Task<ForgetResult> UndoAsync(PointInfo deleted, CancellationToken cancellationToken) => GuardedAsync(async () =>
    {
        var listing = await Repository.ListDeletedAsync(null, cancellationToken);
        var point = listing.Points.FirstOrDefault(found => found.ShortId == deleted.Id)
            ?? throw EngineException.Failed($"Restore point '{deleted.Id}' can't be brought back any more.", "tidemark list");
        await MarkKeeper.KeepAsync(Repository, point.MachineId, [], cancellationToken);
        var back = await Repository.UndoAsync(point.MachineId, point.Id, cancellationToken);
        return new ForgetResult([], [], RepositorySession.Describe(back));
    });

    /// <summary>Deletes what a policy does not keep, of the machines given (all without any).</summary>
    public Task<PruneResult> PruneAsync(
        RetentionPolicy policy, IReadOnlyList<string> machineUuids, bool dryRun, CancellationToken cancellationToken) =>
        GuardedAsync(async () =>
        {
            if (policy.IsEmpty)
                throw EngineException.Usage("Nothing says what to keep.", "give --keep-daily N or another --keep option");
            var now = clock.GetUtcNow();
            var listing = await Repository.ListPointsAsync(null, cancellationToken);
            var points = listing.Points.Where(
                point => machineUuids.Count == 0 || machineUuids.Contains(point.Uuid, StringComparer.Ordinal)).ToList();
            var bases = PointDocuments.BasesOf(listing.Points);
            var byId = points.ToDictionary(NameOf, StringComparer.Ordinal);
            var plan = RetentionPlanner.Plan(policy, points.Select(point => new RetentionPoint(
                NameOf(point), point.MachineId.Value, point.Writer, point.Order, point.Time, point.Stored,
                RepositorySession.Describe(point).Tags, point.Label.IsProtectedAt(now))
            {
                IsBase = bases.Contains(point.Id),
            }).ToList());
            var retired = plan.Where(decision => !decision.Keep && !dryRun).Select(decision => byId[decision.Point.Id]).ToList();
            foreach (var machine in retired.Select(point => point.MachineId).Distinct())
                await MarkKeeper.KeepAsync(Repository, machine, [], cancellationToken);
            foreach (var point in retired)
                await Repository.RetireAsync(point.MachineId, point.Id, null, cancellationToken);
            return new PruneResult(dryRun, plan.Select(decision => new PrunedPoint(
                byId[decision.Point.Id].ShortId, byId[decision.Point.Id].Name, decision.Point.Time, decision.Keep,
                decision.Reasons)).ToList());
        });

    /// <summary>Gives back the space of what was deleted, as far as the runs under way allow.</summary>
    /// <exception cref="EngineException">Damage was found, or too much would go; nothing was deleted then.</exception>
    public Task<CollectInfo> CollectAsync(CollectWish wish, IProgress<CareProgress>? progress, CancellationToken cancellationToken) =>
        GuardedAsync(async () =>
        {
            var options = new CollectOptions { DryRun = wish.DryRun };
            options = options with
            {
                MaxDeletePercent = wish.MaxDeletePercent ?? options.MaxDeletePercent,
                UndoWindow = wish.UndoWindow ?? options.UndoWindow,
            };
            var done = await Repository.CollectAsync(options, progress is null ? null : new Relay(progress), cancellationToken);
            return new CollectInfo(
                wish.DryRun, done.Epoch, done.DeletedBytes, done.KeptBytes, done.MovedBytes, done.Expired, done.Revoked,
                done.WaitingFor.Select(run => new WaitingForRun(run.Machine, run.Host, run.Run, run.Since, run.LastSeen)).ToList(),
                done.Packs.Select(pack => new DeletedPack(pack.Key, pack.Why, pack.Bytes)).ToList());
        });

    /// <summary>Counts what points take, together and alone.</summary>
    public Task<StatsInfo> StatsAsync(
        IReadOnlyList<StatsGroup> groups, IProgress<CareProgress>? progress, CancellationToken cancellationToken) =>
        GuardedAsync(() => UsageAsync(groups, progress, cancellationToken));

    private async Task<StatsInfo> UsageAsync(
        IReadOnlyList<StatsGroup> groups, IProgress<CareProgress>? progress, CancellationToken cancellationToken)
    {
        var all = (await Repository.ListPointsAsync(null, cancellationToken)).Points;
        var wanted = groups.Select(group => new UsageGroup(
            group.Name,
            all.Where(point => group.Points.Contains(point.ShortId, StringComparer.Ordinal)).Select(point => point.Id).ToHashSet()));
        var usage = await Repository.UsageAsync(wanted.ToList(), progress is null ? null : new Relay(progress), cancellationToken);
        return new StatsInfo(
            usage.Points, usage.LogicalBytes, usage.ReferencedBytes, usage.DataBytes, usage.LiveBytes, usage.DeletedBytes,
            usage.StoredBytes,
            usage.DataBytes == 0 ? 1 : (double)usage.ReferencedBytes / usage.DataBytes,
            usage.LiveBytes == 0 ? 1 : (double)usage.DataBytes / usage.LiveBytes,
            usage.Groups.Select(group => new GroupStats(group.Name, group.Points, group.LogicalBytes, group.UniqueBytes)).ToList());
    }

    /// <summary>Keeps a point from being deleted, until a time or for ever; or no longer.</summary>
    public Task<LabelInfo> ProtectAsync(PointInfo point, bool on, DateTimeOffset? until, CancellationToken cancellationToken) =>
        LabelAsync(point, label => label with { Protect = on, Until = on ? until : null }, cancellationToken);

    /// <summary>Sets tags; one without a value is taken away.</summary>
    public Task<LabelInfo> TagAsync(
        PointInfo point, IReadOnlyList<KeyValuePair<string, string?>> tags, CancellationToken cancellationToken) => LabelAsync(
            point, label => tags.Aggregate(label, (changed, tag) => changed.With(tag.Key, tag.Value)), cancellationToken);

    /// <summary>Ends runs of this host whose processes died.</summary>
    public Task<int> RevokeDeadRunsAsync(CancellationToken cancellationToken) =>
        GuardedAsync(() => Repository.RevokeDeadRunsAsync(cancellationToken));

    private Task<LabelInfo> LabelAsync(PointInfo info, Func<PointLabel, PointLabel> change, CancellationToken cancellationToken) =>
        GuardedAsync(async () =>
        {
            var point = await session.FindAsync(info, cancellationToken);
            await Repository.LabelAsync(point.MachineId, point.Id, change, cancellationToken);
            var after = await session.FindAsync(info, cancellationToken);
            return new LabelInfo(
                info.Id, RepositorySession.Describe(after).Tags, after.Label.IsProtectedAt(clock.GetUtcNow()), after.Label.Until);
        });

    // Anyone may commit under another machine's name with a run's id that is taken.
    private static string NameOf(RestorePoint point) => $"{point.MachineId}/{point.Id}";

    private static async Task<T> GuardedAsync<T>(Func<Task<T>> work)
    {
        try
        {
            return await work();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    private sealed class Relay(IProgress<CareProgress> progress) : IProgress<CollectProgress>
    {
        public void Report(CollectProgress value) =>
            progress.Report(new CareProgress(value.Stage.ToString().ToLowerInvariant(), value.Done, value.Total));
    }
}
