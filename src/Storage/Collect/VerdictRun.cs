// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Carries out a verdict, in the order that I15 asks for. Every step may be done again, by anyone: names are never used twice, and
/// absence is success.
/// </summary>
internal sealed class VerdictRun(
    RepositoryContext context, int epoch, VerdictDocument verdict, CollectorRules rules, IProgress<CollectProgress>? progress)
{
    private const int DeletesAtOnce = 16;
    private static readonly string[] Swept =
        [EpochListing.IndexName, EpochListing.RosterName, EpochListing.Wait, EpochListing.Probe, EpochListing.Condemn];

    private static readonly TimeSpan JournalAge = TimeSpan.FromDays(90);

    /// <summary>Returns the packs deleted here, and the bytes of those left.</summary>
    public async Task<(IReadOnlyList<CollectedPack> Packs, long KeptBytes)> ExecuteAsync(
        DateTimeOffset now, CancellationToken cancellationToken)
    {
        var records = new EpochRecords(context, epoch);
        IReadOnlyList<CollectedPack> deleted = [];
        long kept = 0;
        if (!verdict.Cancel)
        {
            await records.PutAsync(EpochListing.RosterName, verdict.Roster, FormatJson.Default.RosterDocument, cancellationToken);
            if (rules.IndexBeforeDelete)
                await PutIndexAsync(records, cancellationToken);
            if (rules.SegmentsBeforePacks)
                await DeleteAsync(verdict.Removed, cancellationToken);
            (deleted, kept) = await DeletePacksAsync(cancellationToken);
            if (!rules.SegmentsBeforePacks)
                await DeleteAsync(verdict.Removed, cancellationToken);
            if (!rules.IndexBeforeDelete)
                await PutIndexAsync(records, cancellationToken);
            foreach (var part in InOrder(verdict.Keys, context.Store.DeleteBatch))
                await context.Store.DeleteAsync(part, cancellationToken);
        }

        await records.PutAsync(EpochListing.Done, new DoneDocument(), FormatJson.Default.DoneDocument, cancellationToken);
        await SweepRecordsAsync(now, cancellationToken);
        return (deleted, kept);
    }

    private Task PutIndexAsync(EpochRecords records, CancellationToken cancellationToken)
    {
        var index = new CollectedIndexDocument { Segments = verdict.Segments, Superseded = verdict.Superseded };
        return records.PutAsync(EpochListing.IndexName, index, FormatJson.Default.CollectedIndexDocument, cancellationToken);
    }

    private async Task<(IReadOnlyList<CollectedPack> Packs, long KeptBytes)> DeletePacksAsync(CancellationToken cancellationToken)
    {
        var doomed = verdict.Delete.ToDictionary(pack => pack.Pack, pack => pack.Why, StringComparer.Ordinal);
        var found = new List<CollectedPack>();
        long kept = 0;
        await foreach (var info in context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
        {
            if (doomed.TryGetValue(info.Key, out var why))
                found.Add(new CollectedPack(info.Key, why, info.Size));
            else
                kept += info.Size;
        }

        progress?.Report(new CollectProgress(CollectStage.Delete, 0, found.Count));
        await DeleteAsync([.. found.Select(pack => pack.Key)], cancellationToken);
        return (found, kept);
    }

    // What was not confirmed gone is there, as far as anyone may rely on it: then nothing that follows is done.
    private Task DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken) =>
        Parallel.ForEachAsync(
            keys.Chunk(context.Store.DeleteBatch), context.Scheduler.AtOnce(DeletesAtOnce, cancellationToken),
            (part, token) => context.Store.DeleteAsync(part, token));

    // A batch has no order of its own, so it holds keys of one kind only: those that follow each other below one folder.
    private static IEnumerable<IReadOnlyList<string>> InOrder(IReadOnlyList<string> keys, int most)
    {
        var part = new List<string>();
        foreach (var key in keys)
        {
            if (part.Count == most || (part.Count > 0 && KindOf(part[0]) != KindOf(key)))
            {
                yield return part;
                part = [];
            }

            part.Add(key);
        }

        if (part.Count > 0)
            yield return part;

        static string KindOf(string key) => key[..(key.IndexOf('/', StringComparison.Ordinal) + 1)];
    }

    // The last epoch's records stay for whoever listed before this one; never a done, by which those who come late know that they are.
    // The index goes first: a roster is looked for after it.
    private async Task SweepRecordsAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        var epochs = await EpochListing.ReadAsync(context, cancellationToken);
        foreach (var old in epochs.Begun.Where(begun => begun < epochs.IndexEpoch - 1 && epochs.IsDone(begun)))
        {
            foreach (var record in Swept.Where(record => epochs.Has(old, record)))
                await context.Store.DeleteAsync(ObjectNames.Epoch(old, record), cancellationToken);
            if (epochs.StoredAt(old, EpochListing.Verdict) is { } stored && now - stored > JournalAge)
                await context.Store.DeleteAsync(ObjectNames.Epoch(old, EpochListing.Verdict), cancellationToken);
        }
    }
}
