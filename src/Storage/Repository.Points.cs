// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>The restore points found, newest first within each machine, and what is damaged: other points, or labels of these.</summary>
public sealed record PointListing(IReadOnlyList<RestorePoint> Points, IReadOnlyList<RepositoryDamagedException> Damaged)
{
    /// <summary>Keys of points that the store failed to read, which says nothing of them.</summary>
    public IReadOnlyList<(string Key, StoreException Failure)> Unread { get; init; } = [];
}

public sealed partial class Repository
{
    private const int PointsAtOnce = 16;
    private const int MaxUnreadPoints = 100; // more: the store is broken, not an object
    private readonly ConcurrentDictionary<string, KnownPoint> _points = new(StringComparer.Ordinal);

    /// <summary>
    /// Every restore point of a machine, or of all; deleted ones and tombstones left out. By machine, newest (greatest seq) first.
    /// </summary>
    /// <exception cref="StoreException">The store failed, and be it for one point: the others alone decide nothing.</exception>
    public async Task<PointListing> ListPointsAsync(MachineId? machine, CancellationToken cancellationToken) =>
        Whole(await ListReadablePointsAsync(machine, cancellationToken));

    /// <summary>Like <see cref="ListPointsAsync"/>, for those who only look or restore: points that the store fails for good to read are
    /// told, and do not stand in the way of the others.</summary>
    public async Task<PointListing> ListReadablePointsAsync(MachineId? machine, CancellationToken cancellationToken)
    {
        var (found, retired) = await FindPointsOfAsync(machine, cancellationToken);
        found.RemoveAll(info => retired.Contains((info.Key[ObjectNames.Points.Length..], null)));
        return await ReadPointsAsync(found, machine, retired, cancellationToken);
    }

    /// <summary>Points that were deleted and may still be brought back, like <see cref="ListPointsAsync"/>.</summary>
    public async Task<PointListing> ListDeletedAsync(MachineId? machine, CancellationToken cancellationToken)
    {
        var (found, retired) = await FindPointsOfAsync(machine, cancellationToken);
        var expired = await MarkedAsync(ObjectNames.Expired, machine is null ? "" : machine + "/", cancellationToken);
        found.RemoveAll(info => info.Key[ObjectNames.Points.Length..] is var suffix
            && (!retired.Contains((suffix, null)) || expired.Contains((suffix, null))));
        return Whole(await ReadPointsAsync(found, machine, expired, cancellationToken));
    }

    private static PointListing Whole(PointListing listing) => listing.Unread.Count == 0
        ? listing
        : throw new StoreException(listing.Unread[0].Failure.Message, isTransient: false, listing.Unread[0].Failure);

    /// <summary>Every point that exists or may still be brought back, deleted disks among them, like
    /// <see cref="ListPointsAsync"/>.</summary>
    public async Task<PointListing> ListUnexpiredAsync(MachineId? machine, CancellationToken cancellationToken)
    {
        var (found, _) = await FindPointsOfAsync(machine, cancellationToken);
        var expired = await MarkedAsync(ObjectNames.Expired, machine is null ? "" : machine + "/", cancellationToken);
        found.RemoveAll(info => expired.Contains((info.Key[ObjectNames.Points.Length..], null)));
        return Whole(await ReadPointsAsync(found, machine, expired, cancellationToken));
    }

    private async Task<(List<ObjectInfo> Found, HashSet<(string Point, string? Disk)> Retired)> FindPointsOfAsync(
        MachineId? machine, CancellationToken cancellationToken)
    {
        var scope = machine is null ? "" : machine + "/";
        var found = new List<ObjectInfo>();
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Points + scope, cancellationToken))
        {
            if (info.Size > 0 && ObjectNames.ParsePoint(info.Key) is { Disk: null })
                found.Add(info);
        }

        var retired = await MarkedAsync(ObjectNames.Retired, scope, cancellationToken);

        // I16: read last, since a collector removes points and retire records only after the roster that calls them gone.
        var roster = (await EpochListing.ReadAsync(_context, cancellationToken)).Roster;
        found.RemoveAll(info => ObjectNames.ParsePoint(info.Key) is { } key && roster.IsGone(key.Run));
        return (found, retired);
    }

    private async Task<PointListing> ReadPointsAsync(
        IReadOnlyList<ObjectInfo> found, MachineId? machine, HashSet<(string Point, string? Disk)> without,
        CancellationToken cancellationToken)
    {
        var labels = await NewestLabelsAsync(machine is null ? "" : machine + "/", cancellationToken);
        var points = new ConcurrentBag<RestorePoint>();
        var damaged = new ConcurrentBag<RepositoryDamagedException>();
        var unread = new ConcurrentBag<(string Key, StoreException Failure)>();
        await Parallel.ForEachAsync(found, _context.Scheduler.AtOnce(PointsAtOnce, cancellationToken), async (info, token) =>
        {
            try
            {
                if (await ReadPointAsync(info.Key, token) is not { } known)
                    return;
                var point = WithoutRetired(known.Point, info.Key[ObjectNames.Points.Length..], without);
                var labelled = await LabelledAsync(point, info, labels, token);
                points.Add(labelled.Point);
                foreach (var failure in labelled.Damaged)
                    damaged.Add(failure);
            }
            catch (RepositoryDamagedException failure)
            {
                damaged.Add(failure);
            }
            catch (StoreException failure) when (!failure.IsTransient && unread.Count < MaxUnreadPoints)
            {
                unread.Add((info.Key, failure));
            }
        });
        var ordered = points.OrderBy(point => point.MachineId.Value, StringComparer.Ordinal).ThenByDescending(point => point.Order)
            .ThenByDescending(point => point.Id.ToString(), StringComparer.Ordinal);
        return new PointListing([.. ordered], [.. damaged.OrderBy(failure => failure.DamagedObject, StringComparer.Ordinal)])
        {
            Unread = [.. unread.OrderBy(point => point.Key, StringComparer.Ordinal)],
        };
    }

    /// <summary>One restore point, or null when it does not exist or was deleted.</summary>
    /// <exception cref="RepositoryDamagedException">It can't be read.</exception>
    public async Task<RestorePoint?> GetPointAsync(MachineId machine, RunId run, CancellationToken cancellationToken)
    {
        var retired = await MarkedAsync(ObjectNames.Retired, machine + "/", cancellationToken);
        var suffix = $"{machine}/{run}";
        if (retired.Contains((suffix, null)) || (await EpochListing.ReadAsync(_context, cancellationToken)).Roster.IsGone(run)
            || await ReadPointAsync(ObjectNames.Point(machine, run), cancellationToken) is not { } known)
            return null;
        return WithoutRetired(known.Point, suffix, retired);
    }

    /// <summary>The points whose short id begins with <paramref name="prefix"/>: none, one, or several when it is too short.</summary>
    public async Task<IReadOnlyList<RestorePoint>> FindPointsAsync(string prefix, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(prefix);
        var listing = await ListPointsAsync(null, cancellationToken);
        return [.. listing.Points.Where(point => point.ShortId.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))];
    }

    /// <summary>The newest point of a machine and the hash of its sealed bytes; deleted ones count, so that seq never goes back.</summary>
    private async Task<KnownPoint?> NewestAsync(MachineId machine, CancellationToken cancellationToken)
    {
        KnownPoint? newest = null;
        await foreach (var info in _context.Store.ListAsync($"{ObjectNames.Points}{machine}/", cancellationToken))
        {
            if (info.Size == 0 || ObjectNames.ParsePoint(info.Key) is not { Disk: null })
                continue;
            try
            {
                var known = await ReadPointAsync(info.Key, cancellationToken);
                if (known is not null && (newest is null || IsNewer(known.Point, newest.Point)))
                    newest = known;
            }
            catch (RepositoryDamagedException)
            {
                continue; // verify names it; a backup goes on
            }
        }

        return newest;
    }

    private static bool IsNewer(RestorePoint left, RestorePoint right) =>
        left.Seq > right.Seq || (left.Seq == right.Seq && string.CompareOrdinal(left.Run, right.Run) > 0);

    private async Task<HashSet<(string Point, string? Disk)>> MarkedAsync(
        string prefix, string scope, CancellationToken cancellationToken)
    {
        var marked = new HashSet<(string Point, string? Disk)>();
        await foreach (var info in _context.Store.ListAsync(prefix + scope, cancellationToken))
        {
            if (ObjectNames.ParsePoint(info.Key) is { } key)
                marked.Add(($"{key.Machine}/{key.Run}", key.Disk));
        }

        return marked;
    }

    private static RestorePoint WithoutRetired(RestorePoint point, string suffix, HashSet<(string Point, string? Disk)> retired)
    {
        var left = point.Disks.Where(disk => !retired.Contains((suffix, disk.Name))).ToArray();
        return left.Length == point.Disks.Count ? point : point with { Disks = left };
    }

    internal async ValueTask<KnownPoint?> ReadPointAsync(string key, CancellationToken cancellationToken)
    {
        if (_points.TryGetValue(key, out var known))
            return known;
        if (await _context.ReadSealedAsync(key, isEmptyNone: true, cancellationToken) is not { } found)
            return null;
        known = new KnownPoint(ParsePoint(key, found.Plain), Convert.ToHexStringLower(SHA256.HashData(found.Content)));
        return _points.GetOrAdd(key, known);
    }

    private static RestorePoint ParsePoint(string key, byte[] plain)
    {
        try
        {
            var point = FormatJson.Read(plain, FormatJson.Default.RestorePoint);
            if (key != ObjectNames.Point(point.MachineId, point.Id))
                throw new RepositoryDamagedException(key, "the restore point of that name", "another one");
            foreach (var tree in point.Trees)
                _ = tree; // reading the property checks root, depth and size
            if (point.Domain.Length > 0 && !KeyDomain.IsValid(point.Domain))
                throw new RepositoryDamagedException(key, "a restore point with the name of a key domain", $"'{point.Domain}'");
            return point.Placed();
        }
        catch (Exception failure) when (failure is JsonException or FormatException)
        {
            throw new RepositoryDamagedException(key, "a restore point", failure.Message, failure);
        }
    }

    /// <summary>A point that was read, and the SHA-256 of its sealed bytes.</summary>
    internal sealed record KnownPoint(RestorePoint Point, string Hash);

    /// <summary>
    /// Points that are not what their successors saw: each names the SHA-256 of the newest point when its run began, whose seq is one
    /// less. Says nothing where copied points have a place in the order, nor of a point without successor.
    /// </summary>
    private IReadOnlyList<RepositoryDamagedException> FindReplaced(IEnumerable<RestorePoint> points)
    {
        var replaced = new List<RepositoryDamagedException>();
        foreach (var machine in points.GroupBy(point => point.MachineId).Where(group => group.All(point => point.Copied is null)))
        {
            var bySeq = machine.ToLookup(point => point.Seq);
            foreach (var point in machine.Where(point => point.Prev is not null))
            {
                var before = bySeq[point.Seq - 1].Select(other => ObjectNames.Point(other.MachineId, other.Id)).ToArray();
                if (before.Length > 0 && !before.Any(key => _points[key].Hash == point.Prev))
                    replaced.Add(new RepositoryDamagedException(
                        before[0], $"the bytes with the SHA-256 '{point.Prev}' that point '{point.ShortId}' saw",
                        $"'{_points[before[0]].Hash}'"));
            }
        }

        return replaced;
    }
}
