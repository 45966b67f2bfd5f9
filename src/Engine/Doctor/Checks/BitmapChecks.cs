// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>
/// Bitmaps against records: what is broken, what has lost its other half, what is foreign. Ours is what carries our name; what of
/// it has a fault is healed by the next backup, so it is never more than a warning.
/// </summary>
public static class BitmapChecks
{
    /// <summary>Every write of the guest sets a bit in each of them.</summary>
    private const int Many = 32;

    // What QEMU says of a bitmap that lies in an image, beside its name, which comes twice.
    private const long WordsOfBitmap = 150;

    // What libvirt passes on of an answer of QEMU, and what it reads of one.
    private const long LongestPassedOn = 4 << 20;
    private const long LongestRead = 10 << 20;

    /// <param name="facts">The machine.</param>
    /// <param name="repositoryPart">First 8 hex digits of the repository's id; null when there is none to compare with.</param>
    public static IEnumerable<Finding> Judge(MachineFacts facts, string? repositoryPart)
    {
        if (JudgeAll(facts.Machine) is { } tooMany)
            yield return tooMany;
        foreach (var disk in facts.Machine.Disks.Where(disk => disk.Untrackable is null))
        {
            foreach (var finding in JudgeDisk(facts, disk, repositoryPart))
                yield return finding;
        }
    }

    private static Finding? JudgeAll(Machine machine)
    {
        var names = machine.Disks.SelectMany(disk => disk.Bitmaps.Keys).ToList();
        var words = names.Sum(name => WordsOfBitmap + (2 * name.Length));
        if (words <= LongestPassedOn)
            return null;
        var effect = words > LongestRead
            ? "libvirt cannot read QEMU's list of them, so the machine does not start"
            : "libvirt cannot pass on QEMU's list of them, so the machine cannot be backed up while it runs";
        return Finding.Problem(
            $"machine '{machine.Name}'", $"Its images carry {names.Count} bitmaps, which is too many: {effect}.",
            "while it is off, of those that nobody needs: qemu-img bitmap --remove IMAGE NAME");
    }

    private static IEnumerable<Finding> JudgeDisk(MachineFacts facts, MachineDisk disk, string? repositoryPart)
    {
        var subject = $"disk '{disk.Name}' of '{facts.Machine.Name}'";
        var records = facts.Checkpoints.Where(checkpoint => checkpoint.Disks.Any(tracked => tracked.Name == disk.Name))
            .Select(checkpoint => checkpoint.Name).ToHashSet(StringComparer.Ordinal);
        var faults = disk.Bitmaps.Where(bitmap => bitmap.Value is not (BitmapHealth.Recording or BitmapHealth.Busy))
            .Select(bitmap => JudgeBroken(facts.Machine, subject, bitmap.Key, records.Contains(bitmap.Key)))
            .Concat(disk.Bitmaps.Keys.Where(name => IsOurs(name) && !records.Contains(name)).Select(name => Finding.Note(
                subject, $"Bitmap '{name}' has no record with the hypervisor; the next backup heals that.",
                $"tidemark backup {facts.Machine.Name}")))
            .Concat(records.Where(name => !disk.Bitmaps.ContainsKey(name)).Select(name => Finding.Note(
                subject,
                $"Checkpoint '{name}' has lost its bitmap on this disk; "
                    + $"{(IsOurs(name) ? "the next backup heals that" : "it is not ours")}.",
                IsOurs(name) ? $"tidemark backup {facts.Machine.Name}" : null)))
            .ToList();
        foreach (var fault in faults)
            yield return fault;
        foreach (var finding in JudgeCounts(subject, disk, repositoryPart, isHealthy: faults.Count == 0))
            yield return finding;
    }

    private static Finding JudgeBroken(Machine machine, string subject, string bitmap, bool hasRecord)
    {
        if (IsOurs(bitmap))
        {
            return Finding.Warning(
                subject,
                $"Bitmap '{bitmap}' is inconsistent: QEMU did not close the image properly. The next backup reads this disk in full and "
                + "tracks it anew.",
                $"tidemark backup {machine.Name}");
        }

        var removal = machine.State == MachineState.Off
            ? $"qemu-img bitmap --remove IMAGE {Shell.Quote(bitmap)}"
            : $"virsh checkpoint-delete {machine.Name} {Shell.Quote(bitmap)}";
        return Finding.Note(
            subject, $"Bitmap '{bitmap}', which is not ours, is inconsistent; whoever made it must remove it.", hasRecord ? removal : null);
    }

    private static IEnumerable<Finding> JudgeCounts(string subject, MachineDisk disk, string? repositoryPart, bool isHealthy)
    {
        var ours = disk.Bitmaps.Keys.Select(Parse).Where(name => name is not null).ToList();
        var own = repositoryPart is null ? ours.Count : ours.Count(name => name!.Value.Repository == repositoryPart);
        var elsewhere = ours.Count - own;
        var foreign = disk.Bitmaps.Count - ours.Count;
        if (disk.Bitmaps.Count > Many)
        {
            yield return Finding.Warning(
                subject,
                $"It carries {disk.Bitmaps.Count} bitmaps, {foreign} of them not ours; every write of the guest sets a bit in each.",
                "virsh checkpoint-list MACHINE, and remove those that nobody needs");
        }

        if (isHealthy)
        {
            yield return Finding.Ok(
                subject,
                $"Its writes can be tracked; bitmaps: {own} of {(repositoryPart is null ? "ours" : "this repository")}, {elsewhere} "
                    + "of other "
                + $"repositories, {foreign} of others.");
        }
    }

    private static bool IsOurs(string name) => Parse(name) is not null;

    private static CheckpointName? Parse(string name) => CheckpointName.TryParse(name, out var parsed) ? parsed : null;
}
