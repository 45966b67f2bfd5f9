// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A pack to condemn: what would be given back, and why.</summary>
internal sealed record ChosenPack(CollectorPack Pack, string Why, long Freed);

/// <summary>
/// Which packs are worth condemning, from marks that need not be exact: what counts is decided after the wait. Pure but for the marks'
/// sums it keeps in the packs.
/// </summary>
/// <param name="index">All packs.</param>
/// <param name="rules">What a test may take away.</param>
/// <param name="opensChunks">Whether the key tells if another writer's copy of a chunk is right: else it replaces nothing (I19).</param>
internal sealed class PackChoice(CollectorIndex index, CollectorRules rules, bool opensChunks)
{
    public const string Dead = "dead";
    public const string Orphan = "orphan";
    public const string Moved = "moved";

    /// <summary>Larger packs are not read whole.</summary>
    public const long MaxMoved = 2 * StorageLimits.PackTarget;

    private const int MaxMovedBlobs = 1 << 20; // marks of what is moved, and 48 bytes an entry
    private const long MinGain = 4096;

    /// <param name="live">Runs that may still commit: what they wrote is theirs.</param>
    /// <param name="budget">Bytes that may be moved to give back the rest of their packs.</param>
    public IReadOnlyList<ChosenPack> Choose(IReadOnlySet<RunId> live, long budget)
    {
        Count();
        var chosen = new List<ChosenPack>();
        var sparse = new List<CollectorPack>();
        // One that is quarantined may be gone or cut short: dropped all the same once nothing needs it, and its records with it.
        foreach (var pack in index.Packs.Where(pack => pack.IsPresent || !pack.IsNamed || pack.IsQuarantined))
        {
            if (rules.PackOfLiveRunSpared && live.Contains(pack.Name.Run))
                continue;
            if (pack.Live == 0 && !pack.IsHintedAt)
                chosen.Add(new ChosenPack(pack, pack.IsNamed ? Dead : Orphan, pack.IsPresent ? pack.Size : 0));
            else if (IsSparse(pack) && !pack.IsHintedAt && pack.IsUsable && pack.Size - pack.Live > MinGain)
                sparse.Add(pack);
        }

        var blobs = 0;
        foreach (var pack in sparse.OrderBy(pack => (double)pack.Live / pack.Size).ThenBy(pack => pack.Rank))
        {
            budget -= pack.Live;
            blobs += pack.LiveBlobs;
            if (budget < 0 || blobs > MaxMovedBlobs)
                break;
            chosen.Add(new ChosenPack(pack, Moved, pack.Size - pack.Live));
        }

        return [.. chosen.OrderBy(choice => choice.Pack.Rank)];
    }

    /// <summary>
    /// Less than half of it is live; or a sixteenth is copies, of chunks that several hosts stored at once. What points no longer need
    /// grows by itself until the pack goes for nothing, or nearly. Copies do not: there is nothing to wait for.
    /// </summary>
    public static bool IsSparse(CollectorPack pack) =>
        pack.Size <= MaxMoved && (pack.Live * 2 < pack.Size || pack.Copies * 16 >= pack.Size);

    // Of several copies only the one that will stay counts; whether another writer's may stand in is looked at when it matters.
    private void Count()
    {
        foreach (var pack in index.Packs)
            (pack.Live, pack.LiveBlobs, pack.Copies) = (0, 0, 0);
        for (long slot = 0; slot < index.Table.Capacity; slot++)
        {
            if (!index.Table.IsUsed(slot) || (index.Table.Marks(slot) & LiveMark.Live) == 0)
                continue;
            var entry = index.Table.Get(slot);
            var pack = index.Packs[(int)entry.Pack];
            var among = opensChunks || entry.Kind != BlobKind.Chunk ? null : (WriterId?)pack.Name.Writer;
            if (!ReferenceEquals(CopyJudge.Best(index, entry.Id, among), pack))
            {
                pack.Copies += entry.Length;
                continue;
            }

            pack.Live += entry.Length;
            pack.LiveBlobs++;
        }
    }
}
