// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Which segments count and which packs must not be reused, as found at one moment (docs/format.md section 9, steps 3 and 4).
/// The order of the listings is what makes a collector safe beside this run (I6).
/// </summary>
internal sealed record IndexListing(IReadOnlyList<string> Segments, IReadOnlySet<string> ExcludedPacks, IReadOnlySet<string> Superseded)
{
    /// <summary>Of a sealed segment: ids do not compress, the rest does.</summary>
    public const int BytesPerEntry = 40;

    /// <summary>About how many entries the segments hold.</summary>
    public long EstimatedEntries { get; init; }

    /// <summary>The epoch whose index counts, or 0.</summary>
    public int Epoch { get; init; }

    /// <summary>What never comes back.</summary>
    public Roster Roster { get; init; } = Roster.Empty;

    /// <summary>Runs that had a point or a tombstone.</summary>
    public IReadOnlySet<RunId> Ended { get; init; } = new HashSet<RunId>();

    /// <summary>Whether a run had ended by then, as far as its key under points/ or the roster tells.</summary>
    public bool HasEnded(RunId run) => Ended.Contains(run) || Roster.IsGone(run);

    /// <summary>The records under bad/; their packs are among the excluded ones.</summary>
    public IReadOnlyList<string> Quarantined { get; init; } = [];

    /// <exception cref="FormatTooNewException">The repository got a feature for writing that this program does not know.</exception>
    public static Task<IndexListing> ReadAsync(RepositoryContext context, bool forWriting, CancellationToken cancellationToken) =>
        ReadAsync(context, forWriting, WriterRules.All, cancellationToken);

    /// <exception cref="FormatTooNewException">The repository got a feature for writing that this program does not know.</exception>
    public static async Task<IndexListing> ReadAsync(
        RepositoryContext context, bool forWriting, WriterRules rules, CancellationToken cancellationToken)
    {
        var excluded = new HashSet<string>(StringComparer.Ordinal);
        var quarantined = new List<string>();
        if (!rules.CondemnBeforeIndex)
        {
            var before = await EpochListing.ReadAsync(context, cancellationToken);
            var early = await ReadSegmentsAsync(context, before, excluded, quarantined, rules, cancellationToken);
            await ReadCondemnedAsync(context, await EpochListing.ReadAsync(context, cancellationToken), excluded, cancellationToken);
            return early; // excluded is the set it holds
        }

        var epochs = await EpochListing.ReadAsync(context, cancellationToken);
        if (forWriting)
        {
            if (epochs.Feature("write") is { } feature)
                throw new FormatTooNewException($"The repository needs '{feature}' for writing, which this program does not know.");
            if (rules.CondemnedSpared)
                await ReadCondemnedAsync(context, epochs, excluded, cancellationToken);
            await foreach (var info in context.Store.ListAsync(ObjectNames.Quarantine, cancellationToken))
            {
                quarantined.Add(info.Key);
                excluded.Add(ObjectNames.PackOfQuarantine(info.Key));
            }
        }

        return await ReadSegmentsAsync(context, epochs, excluded, quarantined, rules, cancellationToken);
    }

    private static async Task<IndexListing> ReadSegmentsAsync(
        RepositoryContext context, EpochListing epochs, HashSet<string> excluded, IReadOnlyList<string> quarantined, WriterRules rules,
        CancellationToken cancellationToken)
    {
        var superseded = epochs.Index.Superseded.ToHashSet(StringComparer.Ordinal);
        var listed = new Dictionary<string, long>(StringComparer.Ordinal);
        await foreach (var info in context.Store.ListAsync(ObjectNames.Index, cancellationToken))
            listed[info.Key] = info.Size;
        var (committed, ended) = (new HashSet<RunId>(), new HashSet<RunId>());
        await foreach (var info in context.Store.ListAsync(ObjectNames.Points, cancellationToken))
        {
            if (ObjectNames.ParsePoint(info.Key) is not { } point)
                continue;
            ended.Add(point.Run);
            if (info.Size > 0 && !(rules.GoneStaysGone && epochs.Roster.IsGone(point.Run)))
                committed.Add(point.Run);
        }

        var counting = listed.Keys.Where(
            key => ObjectNames.RunOfSegment(key) is { } run && committed.Contains(run) && !superseded.Contains(key));
        string[] segments = [.. epochs.Index.Segments, .. counting];
        var size = segments.Sum(key => listed.GetValueOrDefault(key));
        return new IndexListing(segments, excluded, superseded)
        {
            EstimatedEntries = size / BytesPerEntry,
            Epoch = epochs.IndexEpoch,
            Roster = epochs.Roster,
            Quarantined = quarantined,
            Ended = ended,
        };
    }

    // An epoch is over for this listing only if its done was seen, and then its index is read by name.
    private static async Task ReadCondemnedAsync(
        RepositoryContext context, EpochListing epochs, HashSet<string> excluded, CancellationToken cancellationToken)
    {
        foreach (var epoch in epochs.Begun.Where(epoch => epochs.Has(epoch, EpochListing.Condemn) && !epochs.IsDone(epoch)))
        {
            var condemned = await EpochListing.ReadRecordAsync(
                context, epoch, EpochListing.Condemn, FormatJson.Default.CondemnDocument, cancellationToken);
            excluded.UnionWith(condemned?.Packs ?? []);
        }
    }
}
