// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Decides after the wait what of the condemned packs is still needed: live blobs no other copy of which may replace them (I19).
/// Leaves its answer as marks in the table and sums in the packs.
/// </summary>
internal sealed class CopyJudge(RepositoryContext context, DataKeys keys, CollectorIndex index, CollectorRules rules) : IDisposable
{
    /// <summary>Of this copy the pack has to stay, or it is moved.</summary>
    public const byte Needed = 2;

    private const int ChecksAtOnce = 256;
    private const int ReadsAtOnce = 16;
    private readonly BlobReader _blobs = new(context);
    private readonly List<(long Slot, IndexEntry Best)> _doubted = [];

    public async Task JudgeAsync(CancellationToken cancellationToken)
    {
        foreach (var pack in index.Packs)
            (pack.Live, pack.LiveBlobs, pack.Copies) = (0, 0, 0);
        for (long slot = 0; slot < index.Table.Capacity; slot++)
        {
            if (!index.Table.IsUsed(slot))
                continue;
            index.Table.Marks(slot) &= LiveMark.Live;
            if ((index.Table.Marks(slot) & LiveMark.Live) == 0 || !index.Packs[(int)index.Table.Get(slot).Pack].IsCondemned)
                continue;
            Judge(slot);
            if (_doubted.Count >= ChecksAtOnce)
                await SettleAsync(cancellationToken);
        }

        await SettleAsync(cancellationToken);
    }

    public void Dispose() => _blobs.Dispose();

    /// <summary>The copy of a blob that stands for all: in a usable pack before others, in one not condemned, in the one of least
    /// rank; of one writer's packs, if given.</summary>
    public static CollectorPack? Best(CollectorIndex index, in BlobId id, WriterId? writer) =>
        BestEntry(index, in id, pack => writer is null || pack.Name.Writer == writer) is { } best ? index.Packs[(int)best.Pack] : null;

    private static IndexEntry? BestEntry(CollectorIndex index, in BlobId id, Func<CollectorPack, bool> counts)
    {
        IndexEntry? best = null;
        for (var copy = 0; index.Table.Find(in id, copy) is var slot and >= 0; copy++)
        {
            var entry = index.Table.Get(slot);
            var pack = index.Packs[(int)entry.Pack];
            if (counts(pack) && (best is null || Order(pack) < Order(index.Packs[(int)best.Value.Pack])))
                best = entry;
        }

        return best;
    }

    private static long Order(CollectorPack pack) =>
        (pack.IsUsable ? 0 : 1L << 62) + (pack.IsCondemned ? 1L << 61 : 0) + (pack.IsPresent ? 0 : 1L << 60) + pack.Rank;

    private void Judge(long slot)
    {
        var entry = index.Table.Get(slot);
        var pack = index.Packs[(int)entry.Pack];
        pack.Copies += entry.Length;
        var best = BestEntry(index, entry.Id, _ => true)!.Value;
        var bestPack = index.Packs[(int)best.Pack];
        if (!rules.KeepOneCopy && index.Table.Find(entry.Id, 1) >= 0)
            return;
        if (ReferenceEquals(bestPack, pack))
        {
            Need(slot);
            return;
        }

        if (!bestPack.IsUsable)
        {
            if (pack.IsPresent)
                Need(slot); // no copy is whole: what there is stays
            return;
        }

        var writer = pack.Name.Writer;
        var own = BestEntry(index, entry.Id, other => other.IsUsable && other.Name.Writer == writer);
        if (own is { } other && other.Pack != entry.Pack)
            return;
        if (rules.ForeignCopiesChecked)
            _doubted.Add((slot, best));
    }

    private async Task SettleAsync(CancellationToken cancellationToken)
    {
        var needed = new bool[_doubted.Count];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, _doubted.Count), context.Scheduler.AtOnce(ReadsAtOnce, cancellationToken),
            async (i, token) => needed[i] = !await IsRightAsync(_doubted[i].Best, token));
        for (var i = 0; i < needed.Length; i++)
        {
            if (needed[i])
                Need(_doubted[i].Slot);
        }

        _doubted.Clear();
    }

    private async ValueTask<bool> IsRightAsync(IndexEntry entry, CancellationToken cancellationToken)
    {
        var location = new BlobLocation(index.Packs[(int)entry.Pack].Name, entry.Offset, entry.Length);
        if (entry.Kind == BlobKind.Node)
            return await _blobs.IsNodeAsync(entry.Id, location, cancellationToken);
        // Whoever can't look keeps both.
        return StorageLimits.IsChunkSize(entry.PlainLength) && !keys.IsEmpty
            && await BlobProbe.OpensAsync(context, keys, location.Pack!.Key, entry, cancellationToken);
    }

    private void Need(long slot)
    {
        index.Table.Marks(slot) |= Needed;
        var entry = index.Table.Get(slot);
        var pack = index.Packs[(int)entry.Pack];
        pack.Live += entry.Length;
        pack.LiveBlobs++;
        pack.Copies -= entry.Length;
    }
}
