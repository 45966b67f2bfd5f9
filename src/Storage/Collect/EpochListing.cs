// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Tidemark.Storage;

/// <summary>
/// The records under gc/ as one listing showed them, and the index that counts with its roster (docs/format.md section 9, step 4).
/// </summary>
internal sealed class EpochListing
{
    public const string Probe = "probe";
    public const string Condemn = "condemn";
    public const string Wait = "wait";
    public const string Verdict = "verdict";
    public const string RosterName = "roster";
    public const string IndexName = "index";
    public const string Done = "done";
    private const int Tries = 8; // listings that each lose a race with a whole epoch
    private readonly Dictionary<string, DateTimeOffset> _records;

    private EpochListing(Dictionary<string, DateTimeOffset> records)
    {
        _records = records;
        var epochs = records.Keys.Select(ObjectNames.ParseEpoch).OfType<(int Epoch, string Record)>().ToArray();
        Newest = epochs.Length == 0 ? 0 : epochs.Max(record => record.Epoch);
        Finished = [.. epochs.Where(record => record.Record == Done).Select(record => record.Epoch).OrderDescending()];
        Begun = [.. epochs.Select(record => record.Epoch).Distinct().Order()];
    }

    /// <summary>The greatest epoch with any record, or 0.</summary>
    public int Newest { get; }

    /// <summary>Epochs that are over, newest first.</summary>
    public IReadOnlyList<int> Finished { get; }

    /// <summary>Every epoch with a record, oldest first.</summary>
    public IReadOnlyList<int> Begun { get; }

    /// <summary>The epoch a collector works on: the greatest that is not over, or the next.</summary>
    public int Current => Newest == 0 || IsDone(Newest) ? Newest + 1 : Newest;

    /// <summary>The epoch whose index and roster count, or 0.</summary>
    public int IndexEpoch { get; private set; }

    public CollectedIndexDocument Index { get; private set; } = new();

    public Roster Roster { get; private set; } = Roster.Empty;

    public bool IsDone(int epoch) => Has(epoch, Done);

    public bool Has(int epoch, string record) => _records.ContainsKey(ObjectNames.Epoch(epoch, record));

    /// <summary>When a record was stored, or null when it is not there.</summary>
    public DateTimeOffset? StoredAt(int epoch, string record) =>
        _records.TryGetValue(ObjectNames.Epoch(epoch, record), out var time) ? time : null;

    /// <summary>The key domains that are registered.</summary>
    public IEnumerable<string> Domains => _records.Keys.Select(ObjectNames.ParseDomain).OfType<string>();

    /// <summary>The features of one kind that were added since init.</summary>
    public string? Feature(string kind) =>
        _records.Keys.FirstOrDefault(key => key.StartsWith($"{ObjectNames.Features}{kind}/", StringComparison.Ordinal));

    /// <summary>Lists gc/ and reads the index that counts and its roster.</summary>
    /// <exception cref="RepositoryDamagedException">A record is damaged.</exception>
    public static async Task<EpochListing> ReadAsync(RepositoryContext context, CancellationToken cancellationToken)
    {
        EpochListing? before = null;
        for (var attempt = 1; attempt <= Tries; attempt++)
        {
            var records = new Dictionary<string, DateTimeOffset>(StringComparer.Ordinal);
            await foreach (var info in context.Store.ListAsync(ObjectNames.Collector, cancellationToken))
                records[info.Key] = info.Modified;
            var listing = new EpochListing(records);
            if (listing.Finished.Count == 0 && !listing.Begun.Any(epoch => listing.Has(epoch, IndexName)))
                return listing;
            var isSettled = before is not null && before._records.Keys.ToHashSet(StringComparer.Ordinal).SetEquals(records.Keys);
            if (await listing.TryReadCountingAsync(context, isSettled, cancellationToken))
                return listing;

            // Epochs that were all cancelled have no index; that nothing changed meanwhile tells them from a lost race.
            if (isSettled && !listing.Begun.Any(epoch => listing.Has(epoch, IndexName)))
                return listing;
            before = listing;
        }

        throw new RepositoryDamagedException(ObjectNames.Collector, "the index of an epoch", "none that can be read");
    }

    /// <summary>One record, or null when it is not there.</summary>
    /// <exception cref="RepositoryDamagedException">It is damaged.</exception>
    public static async ValueTask<T?> ReadRecordAsync<T>(
        RepositoryContext context, int epoch, string record, JsonTypeInfo<T> type, CancellationToken cancellationToken)
        where T : class
    {
        var key = ObjectNames.Epoch(epoch, record);
        return await context.ReadSealedAsync(key, cancellationToken) is { } plain ? Parse(key, plain, type) : null;
    }

    // A listing may show an epoch's done and have passed its index before that existed, hence asked for by name. One that is missing
    // went with the records of old epochs, and then a new listing shows newer ones; or, when that shows nothing new, by another hand.
    private async ValueTask<bool> TryReadCountingAsync(RepositoryContext context, bool isSettled, CancellationToken cancellationToken)
    {
        var listed = Begun.Where(epoch => Has(epoch, IndexName));
        foreach (var epoch in Finished.Concat(listed).Distinct().OrderDescending())
        {
            var index = await ReadRecordAsync(context, epoch, IndexName, FormatJson.Default.CollectedIndexDocument, cancellationToken);
            var verdict = index is null && IsDone(epoch) && Has(epoch, Verdict)
                ? await ReadRecordAsync(context, epoch, Verdict, FormatJson.Default.VerdictDocument, cancellationToken)
                : null;
            if (verdict is { Cancel: false })
            {
                if (!isSettled)
                    return false;
                index = new CollectedIndexDocument { Segments = verdict.Segments, Superseded = verdict.Superseded };
                (IndexEpoch, Index, Roster) = (epoch, index, new Roster(verdict.Roster));
                return true;
            }

            if (index is null)
                continue;
            var roster = await ReadRosterAsync(context, epoch, cancellationToken);

            // Of old records the index goes first: with it there, a roster that is missing never was.
            if (roster is null && await context.Store.HeadAsync(ObjectNames.Epoch(epoch, IndexName), cancellationToken) is null)
                continue;
            (IndexEpoch, Index, Roster) = (epoch, index, roster ?? Roster.Empty);
            return true;
        }

        return false;
    }

    private static async ValueTask<Roster?> ReadRosterAsync(RepositoryContext context, int epoch, CancellationToken cancellationToken)
    {
        if (context.FindRoster(epoch) is { } known)
            return known;
        var document = await ReadRecordAsync(context, epoch, RosterName, FormatJson.Default.RosterDocument, cancellationToken);
        if (document is null)
            return null;
        var roster = new Roster(document);
        context.KeepRoster(epoch, roster);
        return roster;
    }

    private static T Parse<T>(string key, byte[] plain, JsonTypeInfo<T> type)
        where T : class
    {
        try
        {
            return FormatJson.Read(plain, type);
        }
        catch (JsonException failure)
        {
            throw new RepositoryDamagedException(key, "a record", failure.Message, failure);
        }
    }
}
