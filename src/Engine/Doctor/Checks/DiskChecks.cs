// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>Which disks are protected, and which of them only by reading them in full each time, and how that is changed.</summary>
public static class DiskChecks
{
    public static IEnumerable<Finding> Judge(MachineFacts facts)
    {
        var machine = facts.Machine;
        foreach (var disk in machine.NotProtected)
        {
            var sentence = $"It is in no backup: {disk.Reason}.";
            yield return disk.IsLoss
                ? Finding.Warning(Name(machine, disk.Name), sentence)
                : Finding.Ok(Name(machine, disk.Name), sentence);
        }

        foreach (var disk in machine.Disks)
        {
            if (disk.Untrackable is { } reason)
                yield return JudgeUntracked(machine, disk, reason);
            else if (disk.Identity is null)
                yield return Finding.Warning(
                    Name(machine, disk.Name),
                    "Which image it is on cannot be told, so its bitmap cannot be trusted: it is read in full each time, stored "
                        + "incrementally.");
        }
    }

    private static string Name(Machine machine, string disk) => $"disk '{disk}' of '{machine.Name}'";

    private static Finding JudgeUntracked(Machine machine, MachineDisk disk, string reason)
    {
        var sentence = $"It is read in full each time, stored incrementally: {reason}.";
        var subject = Name(machine, disk.Name);
        if (disk.Format == "qcow2" && disk.Path is { } image)
        {
            return Finding.Warning(
                subject, sentence, $"while '{machine.Name}' is off: qemu-img amend -f qcow2 -o compat=1.1 {Shell.Quote(image)}");
        }

        return disk is { Format: "raw", Path: { } path, Kind: "file" or "block" }
            ? Finding.Note(subject, sentence, RawTracking.Commands(machine.Name, disk, path))
            : Finding.Note(subject, sentence);
    }
}
