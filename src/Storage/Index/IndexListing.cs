// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>
/// Which segments count and which packs must not be reused, as found at one moment (docs/format.md section 9, steps 3 and 4).
/// The order of the listings is what makes a collector safe beside this run (I6).
/// </summary>
internal sealed record IndexListing(IReadOnlyList<string> Segments, IReadOnlySet<string> ExcludedPacks, IReadOnlySet<string> Superseded)
{
    private const int BytesPerEntry = 40; // sealed; ids do not compress, the rest does

    /// <summary>About how many entries the segments hold.</summary>
    public long EstimatedEntries { get; init; }

    /// <summary>The records under bad/; their packs are among the excluded ones.</summary>
    public IReadOnlyList<string> Quarantined { get; init; } = [];

    /// <exception cref="FormatTooNewException">The repository got a feature for writing that this program does not know.</exception>
    public static async Task<IndexListing> ReadAsync(RepositoryContext context, bool forWriting, CancellationToken cancellationToken)
    {
        var store = context.Store;
        var excluded = new HashSet<string>(StringComparer.Ordinal);
        var quarantined = new List<string>();
        var records = new HashSet<string>(StringComparer.Ordinal);
        await foreach (var info in store.ListAsync(ObjectNames.Collector, cancellationToken))
            records.Add(info.Key);
        if (forWriting)
        {
            CheckFeatures(records);
            await ReadCondemnedAsync(context, records, excluded, cancellationToken);
            await foreach (var info in store.ListAsync(ObjectNames.Quarantine, cancellationToken))
            {
                quarantined.Add(info.Key);
                excluded.Add(ObjectNames.PackOfQuarantine(info.Key));
            }
        }

        var collected = await ReadCollectedAsync(context, records, cancellationToken);
        var superseded = collected.Superseded.ToHashSet(StringComparer.Ordinal);
        var listed = new Dictionary<string, long>(StringComparer.Ordinal);
        await foreach (var info in store.ListAsync(ObjectNames.Index, cancellationToken))
            listed[info.Key] = info.Size;
        var committed = new HashSet<RunId>();
        await foreach (var info in store.ListAsync(ObjectNames.Points, cancellationToken))
        {
            if (info.Size > 0 && ObjectNames.ParsePoint(info.Key) is { } point)
                committed.Add(point.Run);
        }

        var counting = listed.Keys.Where(
            key => ObjectNames.RunOfSegment(key) is { } run && committed.Contains(run) && !superseded.Contains(key));
        string[] segments = [.. collected.Segments, .. counting];
        var size = segments.Sum(key => listed.GetValueOrDefault(key));
        return new IndexListing(segments, excluded, superseded) { EstimatedEntries = size / BytesPerEntry, Quarantined = quarantined };
    }

    private static void CheckFeatures(HashSet<string> records)
    {
        var feature = records.FirstOrDefault(key => key.StartsWith(ObjectNames.Features + "write/", StringComparison.Ordinal));
        if (feature is not null)
            throw new FormatTooNewException($"The repository needs '{feature}' for writing, which this program does not know.");
    }

    private static async Task ReadCondemnedAsync(
        RepositoryContext context, HashSet<string> records, HashSet<string> excluded, CancellationToken cancellationToken)
    {
        foreach (var key in records.Where(key => key.EndsWith("/condemn", StringComparison.Ordinal)))
        {
            if (records.Contains(key[..^"condemn".Length] + "done"))
                continue;
            if (await context.ReadSealedAsync(key, cancellationToken) is { } plain)
                excluded.UnionWith(Parse(key, plain, FormatJson.Default.CondemnDocument).Packs);
        }
    }

    private static async Task<CollectedIndexDocument> ReadCollectedAsync(
        RepositoryContext context, HashSet<string> records, CancellationToken cancellationToken)
    {
        var newest = records.Where(key => key.EndsWith("/index", StringComparison.Ordinal)).Max(StringComparer.Ordinal);
        if (newest is null || await context.ReadSealedAsync(newest, cancellationToken) is not { } plain)
            return new CollectedIndexDocument();
        return Parse(newest, plain, FormatJson.Default.CollectedIndexDocument);
    }

    private static T Parse<T>(string key, byte[] plain, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(plain, type) ?? throw new RepositoryDamagedException(key, "a record", "null");
        }
        catch (JsonException failure)
        {
            throw new RepositoryDamagedException(key, "a record as JSON", "something else", failure);
        }
    }
}
