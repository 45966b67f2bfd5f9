// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// What the hypervisor has to be told before a backup, because what it has written down of our lineage does not fit the bitmaps. Pure
/// data: which checkpoints count, and on which disks, was decided by the newest committed restore points; bitmaps are judged by the
/// running QEMU alone.
/// </summary>
/// <param name="Redefine">Checkpoints whose bitmaps are whole and whose record is gone, in the order to tell them.</param>
/// <param name="Forget">Checkpoints of which only the record is left.</param>
public sealed record HealingPlan(IReadOnlyList<CheckpointRecord> Redefine, IReadOnlyList<string> Forget)
{
    /// <param name="machine">The machine now.</param>
    /// <param name="known">What the hypervisor has a record of.</param>
    /// <param name="previous">Per disk name, its newest committed state.</param>
    /// <param name="written">What was written down of checkpoints, in points and in files; later ones win.</param>
    public static HealingPlan Make(
        Machine machine,
        IReadOnlyList<CheckpointRecord> known,
        IReadOnlyDictionary<string, PreviousDisk> previous,
        IEnumerable<CheckpointRecord> written)
    {
        var recorded = known.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        var notes = CheckpointTree.Mend(written);
        var lost = new List<CheckpointRecord>();
        var forget = new List<string>();
        foreach (var name in previous.Values.Select(disk => disk.Checkpoint).OfType<string>().Distinct(StringComparer.Ordinal))
        {
            if (recorded.Contains(name))
            {
                if (machine.Disks.Count > 0 && machine.Disks.All(disk => !disk.BitmapNames.Contains(name, StringComparer.Ordinal)))
                    forget.Add(name);
            }
            else if (Whole(machine, previous, name) is { Count: > 0 } disks)
            {
                var created = notes.Find(name)?.Created ?? previous.Values.First(disk => disk.Checkpoint == name).Time;
                lost.Add(new CheckpointRecord { Name = name, Created = created, Disks = disks });
            }
        }

        return new HealingPlan(InOrder(lost, known, notes, forget), forget);
    }

    // Parents first; one whose parent is gone hangs from the nearest ancestor that is there, or is a root. Among those that could come
    // next the newest last: the hypervisor takes the last one it is told of for the parent of the next.
    private static List<CheckpointRecord> InOrder(
        IReadOnlyList<CheckpointRecord> lost, IReadOnlyList<CheckpointRecord> known, CheckpointTree notes, IReadOnlyList<string> forget)
    {
        var recorded = known.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        var there = recorded.Except(forget, StringComparer.Ordinal)
            .Concat(lost.Select(record => record.Name)).ToHashSet(StringComparer.Ordinal);
        var hung = lost.Select(record => record with
        {
            Parent = notes.UpFrom(record.Name).Skip(1).Select(above => above.Name).FirstOrDefault(there.Contains),
        });
        return CheckpointTree.Mend(known.Concat(hung)).Records.Where(record => !recorded.Contains(record.Name)).ToList();
    }

    // Only disks that the planner will trust it for.
    private static List<TrackedDisk> Whole(Machine machine, IReadOnlyDictionary<string, PreviousDisk> previous, string checkpoint) =>
        machine.Disks.Where(disk => previous.GetValueOrDefault(disk.Name) is { } before
                && before.Checkpoint == checkpoint
                && before.Size == disk.Size
                && before.Identity is { } image
                && disk.Identity is not null
                && ImageChain.WhyOther(image, before.Backing, disk) is null
                && ImageChain.WhyIncomplete(image, before.Backing, disk, checkpoint) is null
                && disk.Bitmaps.GetValueOrDefault(checkpoint, BitmapHealth.Broken) == BitmapHealth.Recording)
            .Select(disk => new TrackedDisk(disk.Name, disk.Identity, disk.Size)).ToList();
}
