// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Turns what a collector sees after the wait into a verdict: what goes, what is moved, which segments count, which names go. Writes
/// packs and segments; nobody looks at those unless the verdict is the one that counts.
/// </summary>
internal sealed class VerdictDraft(
    RepositoryContext context, CollectorView view, EpochListing epochs, RunId run, CollectOptions options,
    IProgress<CollectProgress>? progress)
{
    private const int ManyEndedRuns = 64;
    private readonly HashSet<RunId> _committed = [.. view.Points.Points.Select(point => point.Run)];

    /// <summary>Whether there is anything to do but delete packs.</summary>
    public static bool IsWorthwhile(CollectorView view, EpochListing epochs, CollectOptions options, DateTimeOffset now) =>
        view.Segments.Any(segment => segment.Origin is not null)
        || view.Points.Points.Any(point => point.IsExpired)
        || view.Points.Leftovers.Count > 0
        || StrayPieces(view, epochs).Any()
        || view.StrayQuarantine().Any()
        || OldTombstones(view, now - options.TombstoneAge).Any()
        || view.Runs.Count(view.Points.HasEnded) > ManyEndedRuns;

    /// <exception cref="RepositoryDamagedException">A segment that counts can't be read.</exception>
    public async Task<(VerdictDocument Verdict, long MovedBytes)> WriteAsync(
        CondemnDocument condemned, DateTimeOffset now, CancellationToken cancellationToken)
    {
        progress?.Report(new CollectProgress(CollectStage.Judge, 0, condemned.Packs.Count));
        var packs = condemned.Packs.Select(PackName.TryParse).OfType<PackName>().Select(view.Index.Find).OfType<CollectorPack>().ToArray();
        using (var judge = new CopyJudge(context, new DataKeys(context.Keys, epochs.Domains), view.Index, options.Rules))
            await judge.JudgeAsync(cancellationToken);
        var sparse = packs.Where(pack => pack.LiveBlobs > 0 && !pack.IsHintedAt && PackChoice.IsSparse(pack) && pack.IsUsable).ToArray();
        progress?.Report(new CollectProgress(CollectStage.Move, 0, sparse.Length));
        var mover = new PackMover(context, view.Index, run, options.Rules);
        var emptied = await mover.MoveAsync(sparse, cancellationToken);
        var dead = packs.Where(pack => pack.LiveBlobs == 0 && !pack.IsHintedAt).ToArray();
        DoomedPack[] delete =
        [
            .. dead.Select(pack => new DoomedPack(pack.Name.Key, pack.IsNamed ? PackChoice.Dead : PackChoice.Orphan)),
            .. emptied.Select(pack => new DoomedPack(pack.Name.Key, PackChoice.Moved)),
        ];
        progress?.Report(new CollectProgress(CollectStage.Fold, 0, view.Segments.Count));
        var deleted = dead.Concat(emptied).Select(pack => pack.Name).ToHashSet();
        var fold = new IndexFold(context, epochs.Current, deleted);
        await fold.FoldAsync(view.Segments, mover.Moved, cancellationToken);
        return (Describe(delete, fold.Segments, now), mover.Length);
    }

    private VerdictDocument Describe(IReadOnlyList<DoomedPack> delete, IReadOnlyList<string> segments, DateTimeOffset now)
    {
        var expired = view.Points.Points.Where(point => point.IsExpired).ToArray();
        var tombstones = OldTombstones(view, now - options.TombstoneAge).ToArray();
        RunId[] newlyGone = [.. expired.Select(point => point.Run), .. tombstones.Select(key => ObjectNames.ParsePoint(key)!.Value.Run)];
        var counting = segments.ToHashSet(StringComparer.Ordinal);
        var superseded = epochs.Index.Superseded.Where(key => !IsGone(key))
            .Concat(view.Segments.Where(segment => segment.Origin is not null).Select(segment => segment.Reference.Key))
            .Concat(view.SegmentKeys.Where(IsOfCommitted)).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        var removed = view.SegmentKeys.Where(IsOfCommitted).Concat(StrayPieces(view, epochs))
            .Concat(epochs.Index.Segments).Where(key => !counting.Contains(key)).Distinct(StringComparer.Ordinal);
        var ended = view.Runs.Where(view.Points.HasEnded);
        string[] keys =
        [
            .. expired.Select(point => point.Info.Key),
            .. tombstones,
            .. view.Points.Leftovers,
            .. delete.SelectMany(pack => view.Quarantine[pack.Pack]),
            .. view.StrayQuarantine(),
            .. GoneBefore(),
            .. ended.SelectMany(past => past.Companions.Prepend(past.Key)),
            .. CollectorTombstones(),
        ];
        return new VerdictDocument
        {
            Run = run.ToString(),
            Delete = delete,
            Segments = segments,
            Superseded = superseded,
            Removed = [.. removed.Order(StringComparer.Ordinal)],
            Keys = keys,
            Roster = new RosterDocument
            {
                Points = [.. view.Points.Points.Where(point => !point.IsExpired).Select(
                    point => new RosterPoint(point.Machine.Value, point.Run.ToString(), point.Info.Size, point.Hash))],
                Gone = Roster.Pack(epochs.Roster.Gone.Concat(newlyGone)),
            },
        };
    }

    // Named by a point or not: what lies there under the name of a point's run must not count when its packs are gone.
    private bool IsOfCommitted(string key) => ObjectNames.RunOfSegment(key) is { } owner && _committed.Contains(owner);

    private bool IsGone(string segment) => ObjectNames.RunOfSegment(segment) is { } owner && epochs.Roster.IsGone(owner);

    // What runs that never committed, or collectors whose verdict did not count, left under index/.
    private static IEnumerable<string> StrayPieces(CollectorView view, EpochListing epochs)
    {
        var committed = view.Points.Points.Select(point => point.Run).ToHashSet();
        var live = view.LiveRuns();
        var counting = epochs.Index.Segments.ToHashSet(StringComparer.Ordinal);
        return view.SegmentKeys.Where(key => ObjectNames.RunOfSegment(key) is { } owner
            ? !committed.Contains(owner) && !live.Contains(owner)
            : ObjectNames.EpochOfSegment(key) is { } epoch && epoch < epochs.Current && !counting.Contains(key));
    }

    private static IEnumerable<string> OldTombstones(CollectorView view, DateTimeOffset before) =>
        view.Points.Tombstones.Where(info => info.Modified < before && ObjectNames.ParsePoint(info.Key) is { Disk: null })
            .Select(info => info.Key).Except(view.Points.Leftovers, StringComparer.Ordinal).Order(StringComparer.Ordinal);

    // Of rids that the last roster already calls gone: retire and expire records and labels are of no use any more.
    private IEnumerable<string> GoneBefore() =>
        view.Points.Retired.Keys.Select(suffix => ObjectNames.Retired + suffix)
            .Concat(view.Points.Expired.Select(suffix => ObjectNames.Expired + suffix))
            .Concat(view.Points.Labels)
            .Where(key => ObjectNames.ParsePoint(key) is { } name && epochs.Roster.IsGone(name.Run))
            .Order(StringComparer.Ordinal);

    // Their run objects go before: a collector without one has ended.
    private IEnumerable<string> CollectorTombstones() => view.Points.Tombstones.Select(info => info.Key)
        .Where(key => key.StartsWith($"{ObjectNames.Points}{ObjectNames.CollectorMachine}/", StringComparison.Ordinal))
        .Order(StringComparer.Ordinal);
}
