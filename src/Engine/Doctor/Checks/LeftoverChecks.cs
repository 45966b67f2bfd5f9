// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>What dead runs left on this host.</summary>
public static class LeftoverChecks
{
    /// <param name="leftovers">What was found.</param>
    /// <param name="machineUuid">Only what concerns this machine; null for all.</param>
    public static IEnumerable<Finding> Judge(LeftoverFacts leftovers, string? machineUuid)
    {
        foreach (var sentence in leftovers.Unseen)
            yield return Finding.Note("host", sentence);
        foreach (var (entry, isDead) in leftovers.Entries)
        {
            if (machineUuid is not null && entry.MachineUuid != machineUuid)
                continue;
            var machine = $"machine '{entry.MachineName}'";
            if (!isDead)
                yield return Finding.Note(machine, $"Run {entry.Run:n} is under way, or is being cleaned up.");
            else if (entry.ThawOwed)
                yield return Finding.Warning(
                    machine, "A freeze that the guest's agent never answered may still take effect.",
                    $"virsh domfsthaw {entry.MachineName}");
            else
                yield return Finding.Warning(
                    machine,
                    $"Run {entry.Run:n} died, and its clean-up is not complete: its backup job, scratch files and checkpoint may be there.",
                    $"tidemark backup {entry.MachineName}");
        }

        foreach (var folder in leftovers.StaleFolders)
        {
            yield return Finding.Warning(
                "host", $"Folder '{folder}' is of a run that nobody knows any more; its scratch files take space.", $"rm -r '{folder}'");
        }
    }
}
