// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>What the next backup of a machine would do.</summary>
public static class PlanChecks
{
    public static IEnumerable<Finding> Judge(Machine machine, BackupPlan plan)
    {
        foreach (var disk in plan.Disks)
        {
            var subject = $"disk '{disk.Disk.Name}' of '{machine.Name}'";
            if (disk.FellBack)
                yield return Finding.Warning(
                    subject, $"The next backup reads it in full: {disk.Reason}.", $"tidemark backup {machine.Name}");
            else if (disk.IsIncremental)
                yield return Finding.Ok(subject, $"The next backup reads {disk.Reason}.");
        }
    }
}
