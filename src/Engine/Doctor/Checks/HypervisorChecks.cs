// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>Whether libvirt and QEMU can do what a backup asks of them.</summary>
public static class HypervisorChecks
{
    // Pull backups with checkpoints are complete from these on; older ones lack incremental backups or lose checkpoints.
    private static readonly Version OldestLibvirt = new(7, 2);
    private static readonly Version OldestQemu = new(4, 2);

    public static IEnumerable<Finding> Judge(HypervisorFacts facts)
    {
        const string Subject = "hypervisor";
        yield return Finding.Ok(Subject, $"libvirt {facts.LibvirtVersion} answers at '{facts.Uri}', with QEMU {facts.QemuVersion}.");
        if (facts.LibvirtVersion < OldestLibvirt)
        {
            yield return Finding.Problem(
                Subject, $"libvirt {facts.LibvirtVersion} is too old for incremental backups; {OldestLibvirt} or later is needed.");
        }

        if (facts.QemuVersion is { } qemu && qemu < OldestQemu)
            yield return Finding.Problem(Subject, $"QEMU {qemu} is too old for incremental backups; {OldestQemu} or later is needed.");
        if (facts.SupportsBackup == false)
        {
            yield return Finding.Problem(
                Subject, "libvirt says that it cannot make backups with this QEMU (domcapabilities, 'backup').", "virsh domcapabilities");
        }
    }
}
