// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Auditing;

/// <summary>
/// All that was ever found out about changes of a disk that were missed, as every point of the disk repeats it. Ranges of the order of
/// points instead of a list of them: they hold as well for points that are deleted at the moment, or exist only as copies elsewhere.
/// Pure data, at most <see cref="MostRanges"/>; where there would be more, neighbours become one, so that too much may be doubted, never
/// too little.
/// </summary>
internal static class Missed
{
    public const int MostRanges = 64;

    /// <summary>What several points say of one disk as one, in order; ranges that hold no point, or lie within another, are left
    /// out.</summary>
    public static IReadOnlyList<MissedChanges> Join(IEnumerable<MissedChanges> all)
    {
        var joined = new List<MissedChanges>();
        foreach (var next in all.Where(range => range.Before - range.After > 1)
            .OrderBy(range => range.After).ThenByDescending(range => range.Before).ThenBy(range => range.Found))
        {
            if (joined.Count == 0 || next.Before > joined[^1].Before)
                joined.Add(next);
        }

        while (joined.Count > MostRanges)
        {
            // Befores ascend as well, so what a union takes in needlessly is the gap between the two.
            var least = Enumerable.Range(0, joined.Count - 1).MinBy(i => joined[i + 1].After - joined[i].Before);
            joined[least] = joined[least] with { Before = joined[least + 1].Before, Found = joined[least + 1].Found };
            joined.RemoveAt(least + 1);
        }

        return joined;
    }

    /// <summary>What these ranges say of a disk of a point; null when nothing.</summary>
    public static DiskDoubt? Judge(IEnumerable<MissedChanges> ranges, RestorePoint point, PointDisk disk)
    {
        var seq = SeqOf(point, disk);
        return ranges.Where(range => range.After < seq && seq < range.Before)
            .Aggregate((DiskDoubt?)null, (worst, range) => DiskDoubt.Worse(worst, new DiskDoubt(range.Since, range.Found)));
    }

    /// <summary>The order of the point that a disk was read for: one that was brought back or copied keeps it.</summary>
    public static long SeqOf(RestorePoint point, PointDisk disk) => disk.Audit?.Seq ?? point.Seq;
}
