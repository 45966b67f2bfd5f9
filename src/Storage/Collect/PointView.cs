// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;

namespace Tidemark.Storage;

/// <summary>A committed point as a collection sees it.</summary>
internal sealed record SeenPoint(ObjectInfo Info, MachineId Machine, RunId Run)
{
    public string Suffix => $"{Machine}/{Run}";

    /// <summary>SHA-256 of the sealed bytes; empty for one that expired, which is not read.</summary>
    public string Hash { get; init; } = "";

    /// <summary>Null for one that expired and can't be read.</summary>
    public RestorePoint? Document { get; init; }

    /// <summary>Deleted for good, the whole of it.</summary>
    public bool IsExpired { get; init; }

    /// <summary>The trees that are live.</summary>
    public IReadOnlyList<TreeRef> Trees { get; init; } = [];
}

/// <summary>Points, tombstones, and what was deleted, listed in this order.</summary>
internal sealed class PointView
{
    private const int PointsAtOnce = 16;
    private readonly Dictionary<string, ObjectInfo> _fences = new(StringComparer.Ordinal);
    private readonly Roster _roster;

    private PointView(Roster roster) => _roster = roster;

    /// <summary>Committed and not gone, expired ones too.</summary>
    public IReadOnlyList<SeenPoint> Points { get; private set; } = [];

    /// <summary>Retire records by "vmid/rid" or "vmid/rid.disk" as in their keys, with when they were stored.</summary>
    public Dictionary<string, DateTimeOffset> Retired { get; } = new(StringComparer.Ordinal);

    /// <summary>Keys of labels.</summary>
    public List<string> Labels { get; } = [];

    public HashSet<string> Expired { get; } = new(StringComparer.Ordinal);

    /// <summary>Objects of 0 bytes under points/.</summary>
    public IEnumerable<ObjectInfo> Tombstones => _fences.Values.Where(info => info.Size == 0);

    /// <summary>What lies under points/ of rids that are gone.</summary>
    public List<string> Leftovers { get; } = [];

    /// <summary>Lists and reads.</summary>
    /// <exception cref="RepositoryDamagedException">A point that has not expired can't be read (I18).</exception>
    public static async Task<PointView> ReadAsync(
        Repository repository, Roster roster, CollectorRules rules, IEnumerable<string> alsoExpired, CancellationToken cancellationToken)
    {
        var store = repository.Context.Store;
        var view = new PointView(roster);
        var found = new List<SeenPoint>();
        await foreach (var info in store.ListAsync(ObjectNames.Points, cancellationToken))
        {
            view._fences[info.Key] = info;
            if (ObjectNames.ParsePoint(info.Key) is not { Disk: null } name)
                continue;
            if (rules.GoneStaysGone && roster.IsGone(name.Run))
                view.Leftovers.Add(info.Key);
            else if (info.Size > 0)
                found.Add(new SeenPoint(info, name.Machine, name.Run));
        }

        await foreach (var info in store.ListAsync(ObjectNames.Retired, cancellationToken))
            view.Retired[info.Key[ObjectNames.Retired.Length..]] = info.Modified;
        await foreach (var info in store.ListAsync(ObjectNames.Expired, cancellationToken))
            view.Expired.Add(info.Key[ObjectNames.Expired.Length..]);
        view.Expired.UnionWith(alsoExpired);
        await foreach (var info in store.ListAsync(ObjectNames.Labels, cancellationToken))
            view.Labels.Add(info.Key);
        var points = new ConcurrentBag<SeenPoint>();
        await Parallel.ForEachAsync(
            found, repository.Context.Scheduler.AtOnce(PointsAtOnce, cancellationToken), async (point, token) =>
            {
                if (await view.ReadPointAsync(repository, point, rules, token) is { } read)
                    points.Add(read);
            });
        view.Points = [.. points.OrderBy(point => point.Suffix, StringComparer.Ordinal)];
        return view;
    }

    /// <summary>Whether a run can't commit any more, or did; by what was listed, its run object taken as there.</summary>
    public bool HasEnded(ListedRun run) =>
        run.HasEnd || _roster.IsGone(run.Id) || _fences.ContainsKey(ObjectNames.Fence(run.Machine, run.Id));

    /// <summary>Whether a run was revoked.</summary>
    public bool IsRevoked(ListedRun run) =>
        _roster.IsGone(run.Id) || (_fences.TryGetValue(ObjectNames.Fence(run.Machine, run.Id), out var info) && info.Size == 0);

    /// <summary>Whether a run's point was in the listing.</summary>
    public bool HasPoint(ListedRun run) =>
        _fences.TryGetValue(ObjectNames.Fence(run.Machine, run.Id), out var info) && info.Size > 0;

    private async ValueTask<SeenPoint?> ReadPointAsync(
        Repository repository, SeenPoint point, CollectorRules rules, CancellationToken cancellationToken)
    {
        var dead = rules.ExpireAfterWindow ? Expired : [.. Expired, .. Retired.Keys];
        var isExpired = dead.Contains(point.Suffix);
        try
        {
            if (await repository.ReadPointAsync(point.Info.Key, cancellationToken) is not { } known)
                return null; // gone since it was listed, by a collector that is further
            var disks = known.Point.Disks.Where(
                disk => !dead.Contains(ObjectNames.ExpireDisk(point.Machine, point.Run, disk.Name)[ObjectNames.Expired.Length..]));
            return point with
            {
                Hash = known.Hash,
                Document = known.Point,
                IsExpired = isExpired,
                Trees = isExpired ? [] : [.. disks.Select(disk => disk.Tree), .. known.Point.Files.Select(file => file.Tree)],
            };
        }
        catch (RepositoryDamagedException) when (isExpired)
        {
            return point with { IsExpired = true };
        }
    }
}
