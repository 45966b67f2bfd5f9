// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>What is known of a quarantined pack, all its records added up.</summary>
/// <param name="Blobs">The blobs that do not open; null for all.</param>
/// <param name="Problem">What was found, in a sentence.</param>
/// <param name="Records">How many records there are: the number of the next one.</param>
internal sealed record QuarantinedPack(IReadOnlySet<BlobId>? Blobs, string Problem, int Records)
{
    /// <summary>Whether these blobs (null: all) are recorded already.</summary>
    public bool Covers(IReadOnlySet<BlobId>? blobs) => Blobs is null || (blobs is not null && Blobs.IsSupersetOf(blobs));
}

/// <summary>The records under bad/ (docs/format.md section 8). A record that can't be read stands for its whole pack.</summary>
internal static class Quarantine
{
    private const int RecordTries = 16; // several verifications at once

    /// <summary>Every quarantined pack, by its key.</summary>
    public static async Task<Dictionary<string, QuarantinedPack>> ReadAsync(
        RepositoryContext context, Action<string, StoreException>? unread,
        CancellationToken cancellationToken)
    {
        var keys = new List<string>();
        await foreach (var info in context.Store.ListAsync(ObjectNames.Quarantine, cancellationToken))
            keys.Add(info.Key);
        return await ReadAsync(context, keys, unread, cancellationToken);
    }

    /// <summary>The packs of these records; what the store fails for good to read is passed over and told, or thrown where nobody is to be
    /// told.</summary>
    public static async Task<Dictionary<string, QuarantinedPack>> ReadAsync(
        RepositoryContext context, IEnumerable<string> records, Action<string, StoreException>? unread,
        CancellationToken cancellationToken)
    {
        var packs = new Dictionary<string, QuarantinedPack>(StringComparer.Ordinal);
        foreach (var key in records.Order(StringComparer.Ordinal))
        {
            HashSet<BlobId>? blobs;
            string problem;
            try
            {
                (blobs, problem) = await ReadOneAsync(context, key, cancellationToken);
            }
            catch (StoreException failure) when (unread is not null && !failure.IsTransient)
            {
                unread(key, failure);
                continue;
            }

            var pack = ObjectNames.PackOfQuarantine(key);
            if (packs.TryGetValue(pack, out var before))
            {
                blobs = blobs is null || before.Blobs is null ? null : [.. blobs, .. before.Blobs];
                problem = before.Problem;
            }

            packs[pack] = new QuarantinedPack(blobs, problem, (before?.Records ?? 0) + 1);
        }

        return packs;
    }

    /// <summary>Records a pack; <paramref name="known"/> is what was recorded before, or null.</summary>
    public static async Task AddAsync(
        RepositoryContext context, string pack, IReadOnlySet<BlobId>? blobs, string problem, QuarantinedPack? known,
        CancellationToken cancellationToken)
    {
        var document = new QuarantineDocument
        {
            Time = context.Clock.GetUtcNow(),
            Host = context.Host,
            Problem = problem,
            Blobs = blobs is null ? null : [.. blobs.Select(id => id.ToString()).Order(StringComparer.Ordinal)],
        };
        var plain = JsonSerializer.SerializeToUtf8Bytes(document, FormatJson.Default.QuarantineDocument);
        var first = known?.Records ?? 0;
        for (var number = first; number < first + RecordTries; number++)
        {
            var key = ObjectNames.QuarantineOf(pack, number);
            if (await context.Store.PutIfAbsentAsync(key, context.Close(key, plain), cancellationToken))
                return;
        }

        throw new StoreException($"{RecordTries} records of damage to '{pack}' were written at the same time.", isTransient: true);
    }

    private static async Task<(HashSet<BlobId>? Blobs, string Problem)> ReadOneAsync(
        RepositoryContext context, string key, CancellationToken cancellationToken)
    {
        try
        {
            if (await context.ReadSealedAsync(key, cancellationToken) is not { Length: > 0 } plain)
                return (null, "It is quarantined by a record that is empty.");
            var document = FormatJson.Read(plain, FormatJson.Default.QuarantineDocument);
            return (document.Blobs?.Select(BlobId.Parse).ToHashSet(), document.Problem);
        }
        catch (Exception failure) when (failure is RepositoryDamagedException or JsonException or FormatException)
        {
            return (null, "It is quarantined by a record that can't be read.");
        }
    }
}
