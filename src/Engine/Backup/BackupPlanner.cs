// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>
/// Decides, disk by disk, whether the changes since a checkpoint can be trusted, or the disk is read in full and why.
/// The newest committed restore point alone says which checkpoint is the base; whatever does not fit it means full.
/// </summary>
public static class BackupPlanner
{
    /// <param name="machine">The machine now.</param>
    /// <param name="checkpoints">Checkpoints that the hypervisor has a record of.</param>
    /// <param name="previous">Per disk name, its newest committed state.</param>
    /// <param name="options">What the user chose.</param>
    /// <exception cref="EngineException">A disk that was asked for does not exist or cannot be protected, or none is left.</exception>
    public static BackupPlan Plan(
        Machine machine,
        IReadOnlySet<string> checkpoints,
        IReadOnlyDictionary<string, PreviousDisk> previous,
        BackupOptions options)
    {
        foreach (var name in options.Disks)
            RefuseUnlessProtectable(machine, name);

        var chosen = new List<DiskPlan>();
        var left = machine.NotProtected
            .Select(disk => WhyLeftOut(disk.Name, options) is { } reason && disk.IsLoss ? Unwanted(disk.Name, reason) : disk).ToList();
        foreach (var disk in machine.Disks)
        {
            if (WhyLeftOut(disk.Name, options) is { } reason)
                left.Add(Unwanted(disk.Name, reason));
            else
                chosen.Add(PlanDisk(machine.State, disk, checkpoints, previous.GetValueOrDefault(disk.Name), options));
        }

        if (chosen.Count == 0)
        {
            throw EngineException.Usage(
                $"Machine '{machine.Name}' has no disk to back up: {Join(left)}.", "tidemark machines");
        }

        return new BackupPlan(chosen, left);
    }

    private static string? WhyLeftOut(string disk, BackupOptions options) =>
        options.Exclude.Contains(disk, StringComparer.Ordinal) ? "excluded by the user"
        : options.Disks.Count > 0 && !options.Disks.Contains(disk, StringComparer.Ordinal) ? "not chosen for this backup"
        : null;

    private static UnprotectedDisk Unwanted(string disk, string reason) => new(disk, reason, IsLoss: false);

    private static DiskPlan PlanDisk(
        MachineState state, MachineDisk disk, IReadOnlySet<string> checkpoints, PreviousDisk? previous, BackupOptions options)
    {
        var isOff = state == MachineState.Off;
        var chunkLog2 = options.ChunkLog2 ?? previous?.ChunkLog2 ?? BackupOptions.DefaultChunkLog2;
        var whyFull = WhyFull(disk, isOff ? null : checkpoints, previous, options, chunkLog2);
        return new DiskPlan
        {
            Disk = disk,
            Base = whyFull is null ? previous!.Checkpoint : null,
            Previous = previous?.Domain == (options.Domain ?? "") ? previous : null,
            Reason = whyFull ?? string.Create(
                CultureInfo.InvariantCulture, $"changes since the backup of {previous!.Time.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC"),
            Track = disk.Untrackable is null && !isOff,
            FellBack = whyFull is not null && previous is { WhyUntracked: null } && !options.Full && disk.Untrackable is null,
            ChunkLog2 = chunkLog2,
        };
    }

    // The order matters only to the words: the first thing that is wrong is the one that is said. The hypervisor needs no record of a
    // checkpoint (null) when the bitmap itself is read.
    private static string? WhyFull(
        MachineDisk disk, IReadOnlySet<string>? checkpoints, PreviousDisk? previous, BackupOptions options, int chunkLog2)
    {
        if (previous is null)
            return "first backup of this disk in this repository";
        if (previous.Domain != (options.Domain ?? ""))
            return $"its last backup is of {KeyDomain.Describe(previous.Domain)}, this one of {KeyDomain.Describe(options.Domain ?? "")}";
        if (options.Full)
            return "a full read was asked for";
        if (disk.Untrackable is { } untrackable)
            return $"{untrackable}; read in full, stored incrementally";
        if (previous.Doubt is { } doubt)
        {
            return string.Create(
                CultureInfo.InvariantCulture,
                $"the last backup may lack changes, as the backup of {doubt.Found.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC found");
        }

        if (previous.Checkpoint is not { } checkpoint)
            return previous.WhyUntracked ?? "the last backup could not start tracking changes of this disk";
        if (previous.Size != disk.Size)
            return $"the disk's size changed from {previous.Size} to {disk.Size} bytes since the last backup";
        if (previous.Identity is null || disk.Identity is null)
            return "which image this disk is on cannot be told, so its bitmap cannot be trusted";
        if (ImageChain.WhyOther(previous.Identity, previous.Backing, disk) is { } other)
            return other;
        if (DataFile.WhyOther(previous.DataFile, disk.DataFile) is { } otherData)
            return otherData;
        if (ImageChain.WhyIncomplete(previous.Identity, previous.Backing, disk, checkpoint) is { } incomplete)
            return incomplete;
        if (!disk.Bitmaps.TryGetValue(checkpoint, out var health))
            return $"the bitmap of checkpoint '{checkpoint}' is missing on this disk";
        if (health == BitmapHealth.Incomplete)
        {
            return $"the bitmap of checkpoint '{checkpoint}' lacks changes that the disk shows: "
                + "it was shrunk and grown again, or written to while nobody watched";
        }

        if (health == BitmapHealth.Refused)
            return $"QEMU did not begin a backup from the bitmap of checkpoint '{checkpoint}'";
        if (health == BitmapHealth.Busy)
            return $"the bitmap of checkpoint '{checkpoint}' is held by another operation of QEMU";
        if (health != BitmapHealth.Recording)
        {
            return $"the bitmap of checkpoint '{checkpoint}' is inconsistent: QEMU did not close the image properly (killed, or by a "
                + "reversion to a snapshot, which QEMU refuses while bitmaps exist: run 'tidemark checkpoint release' before that)";
        }

        if (checkpoints?.Contains(checkpoint) == false)
            return $"the hypervisor has no record of checkpoint '{checkpoint}' any more";
        if (previous.ChunkLog2 != chunkLog2)
            return $"the chunk size changed from {1L << previous.ChunkLog2} to {1L << chunkLog2} bytes";
        return null;
    }

    private static void RefuseUnlessProtectable(Machine machine, string name)
    {
        if (machine.NotProtected.FirstOrDefault(disk => disk.Name == name) is { } unprotected)
            throw EngineException.Usage($"Disk '{name}' of machine '{machine.Name}' cannot be protected: {unprotected.Reason}.");
        if (machine.Disks.All(disk => disk.Name != name))
        {
            throw EngineException.Usage(
                $"Machine '{machine.Name}' has no disk '{name}'; it has {string.Join(", ", machine.Disks.Select(disk => disk.Name))}.",
                "tidemark machines");
        }
    }

    private static string Join(IEnumerable<UnprotectedDisk> disks)
    {
        var text = string.Join("; ", disks.Select(disk => $"{disk.Name}: {disk.Reason}"));
        return text.Length == 0 ? "it has no disks at all" : text;
    }
}
