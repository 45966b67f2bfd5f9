// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// All that a collection knows: points, packs, every counting segment, runs, and marks of what is live. Looking again adds to it: marks
/// of an earlier look stay, which can only spare more. One caller.
/// </summary>
internal sealed class CollectorView : IDisposable
{
    private readonly Repository _repository;
    private readonly RepositoryContext _context;
    private readonly CollectOptions _options;
    private readonly DateTimeOffset _now;
    private readonly IProgress<CollectProgress>? _progress;
    private readonly LiveMark _mark;

    /// <param name="repository">Opened with nothing cached; the view's own.</param>
    /// <param name="options">Rules and limits.</param>
    /// <param name="now">The store's time.</param>
    /// <param name="progress">Gets points marked.</param>
    public CollectorView(Repository repository, CollectOptions options, DateTimeOffset now, IProgress<CollectProgress>? progress)
    {
        (_repository, _context, _options, _now, _progress) = (repository, repository.Context, options, now, progress);
        Index = new CollectorIndex(_context);
        _mark = new LiveMark(_context, Index);
    }

    /// <summary>Names below expire/ to take as there, for a look that writes nothing.</summary>
    public IReadOnlyList<string> AlsoExpired { get; init; } = [];

    public CollectorIndex Index { get; }

    public PointView Points { get; private set; } = null!;

    /// <summary>Objects under index/.</summary>
    public IReadOnlyList<string> SegmentKeys { get; private set; } = [];

    /// <summary>The segments that count.</summary>
    public IReadOnlyList<CountingSegment> Segments { get; private set; } = [];

    public IReadOnlyList<ListedRun> Runs { get; private set; } = [];

    /// <summary>Packs in the store and their sizes.</summary>
    public IReadOnlyDictionary<PackName, long> Packs { get; private set; } = new Dictionary<PackName, long>();

    public ILookup<string, string> Quarantine { get; private set; } = Array.Empty<string>().ToLookup(key => key, StringComparer.Ordinal);

    /// <summary>Run objects that can't be read, of runs that may still commit: what they pin is not known.</summary>
    public IReadOnlyList<ListedRun> Unreadable { get; private set; } = [];

    /// <summary>Looks at everything in the order that docs/format.md section 9 asks for, and marks what is live.</summary>
    /// <exception cref="RepositoryDamagedException">Something is not as it must be (I18).</exception>
    public async Task LookAsync(EpochListing epochs, CancellationToken cancellationToken)
    {
        if (!_options.Rules.PointsBeforeRuns)
            Runs = await RunListing.ReadAsync(_context.Store, null, cancellationToken);
        await ListPacksAsync(cancellationToken);
        Points = await PointView.ReadAsync(_repository, epochs.Roster, _options.Rules, AlsoExpired, cancellationToken);
        if (_options.Rules.RosterChecked)
            CheckRoster(epochs.Roster);
        await LoadSegmentsAsync(epochs, cancellationToken);
        var done = 0;
        var live = Points.Points.Where(point => !point.IsExpired).ToArray();
        foreach (var point in live)
        {
            foreach (var tree in point.Trees)
                await _mark.AddAsync(tree, cancellationToken);
            _progress?.Report(new CollectProgress(CollectStage.Mark, ++done, live.Length));
        }

        // I14: runs last. Whoever inherits from a point that was not seen any more had pinned it before.
        if (_options.Rules.PointsBeforeRuns)
            Runs = await RunListing.ReadAsync(_context.Store, null, cancellationToken);
        await AddPinsAsync(cancellationToken);
    }

    /// <summary>Runs that may still commit, and those whose packs may still be named: everything but what has ended.</summary>
    public IReadOnlySet<RunId> LiveRuns() => Runs.Where(run => !Points.HasEnded(run)).Select(run => run.Id).ToHashSet();

    /// <summary>
    /// Records under bad/ of packs that are neither there nor named by a segment. Of a run that may still commit they stay: its pack may
    /// have come after the listing.
    /// </summary>
    public IEnumerable<string> StrayQuarantine()
    {
        var live = LiveRuns();
        return Quarantine.Where(group => PackName.TryParse(group.Key) is { } pack && !Packs.ContainsKey(pack) && !live.Contains(pack.Run)
                && Index.Find(pack) is not { IsNamed: true })
            .SelectMany(group => group).Order(StringComparer.Ordinal);
    }

    /// <summary>Stored bytes of everything marked, each blob once.</summary>
    public long LiveBytes()
    {
        long bytes = 0;
        for (long slot = 0; slot < Index.Table.Capacity; slot++)
        {
            if (!Index.Table.IsUsed(slot) || (Index.Table.Marks(slot) & LiveMark.Live) == 0)
                continue;
            var entry = Index.Table.Get(slot);
            bytes += Index.Table.Find(entry.Id, 0) == slot ? entry.Length : 0;
        }

        return bytes;
    }

    public void Dispose()
    {
        _mark.Dispose();
        Index.Dispose();
        _repository.Dispose();
    }

    private async Task ListPacksAsync(CancellationToken cancellationToken)
    {
        var packs = new Dictionary<PackName, long>();
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
        {
            if (PackName.TryParse(info.Key) is { } name)
                packs[name] = info.Size;
        }

        var quarantine = new List<string>();
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Quarantine, cancellationToken))
            quarantine.Add(info.Key);
        Packs = packs;
        Quarantine = quarantine.ToLookup(ObjectNames.PackOfQuarantine, StringComparer.Ordinal);
    }

    private async Task LoadSegmentsAsync(EpochListing epochs, CancellationToken cancellationToken)
    {
        var superseded = epochs.Index.Superseded.ToHashSet(StringComparer.Ordinal);
        var segments = epochs.Index.Segments.Select(key => new CountingSegment(new SegmentReference(key, ""), null)).ToList();
        foreach (var point in Points.Points.Where(point => point.Document is not null))
            segments.AddRange(point.Document!.Index.Where(segment => !superseded.Contains(segment.Key)).Select(
                segment => new CountingSegment(segment, point.Run)));
        var listed = new Dictionary<string, long>(StringComparer.Ordinal);
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Index, cancellationToken))
            listed[info.Key] = info.Size;
        SegmentKeys = [.. listed.Keys];
        Index.Expect(segments.Sum(segment => listed.GetValueOrDefault(segment.Reference.Key)) / IndexListing.BytesPerEntry);
        foreach (var (number, segment) in segments.Index())
        {
            await Index.LoadAsync(segment.Reference, segment.Origin, cancellationToken);
            _progress?.Report(new CollectProgress(CollectStage.Look, number + 1, segments.Count));
        }

        Segments = segments;
        Index.SetPresent(Packs, Quarantine.Select(group => group.Key).ToHashSet(StringComparer.Ordinal));
    }

    private async Task AddPinsAsync(CancellationToken cancellationToken)
    {
        var unreadable = new List<ListedRun>();
        foreach (var run in Runs.Where(run => !run.IsCollector && !run.HasEnd && !Points.IsRevoked(run) && !Points.HasPoint(run)))
        {
            var (isThere, document) = await RunListing.ReadDocumentAsync(_context, run, cancellationToken);
            if (document is null)
            {
                if (isThere)
                    unreadable.Add(run);
                continue;
            }

            if (document.Purpose == RunDocument.Read && _now - run.LastSeen > _options.Silence)
                continue;
            foreach (var pin in _options.Rules.PinsProtect ? document.Pins : [])
                await _mark.AddAsync(pin, cancellationToken);
        }

        Unreadable = unreadable;
    }

    private void CheckRoster(Roster roster)
    {
        var seen = Points.Points.ToDictionary(point => point.Suffix, StringComparer.Ordinal);
        foreach (var expected in roster.Points)
        {
            var suffix = $"{expected.Machine}/{expected.Run}";
            if (Points.Retired.ContainsKey(suffix))
                continue;
            var point = seen.GetValueOrDefault(suffix);
            if (RosterCheck.Compare(expected, point?.Info.Size, point?.Hash ?? "") is { } problem)
                throw problem;
        }
    }
}
