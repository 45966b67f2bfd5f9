// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>State folder, programs, guardian, what confines QEMU, TLS.</summary>
public static class HostChecks
{
    private const string Host = "host";

    /// <param name="facts">The host.</param>
    /// <param name="hypervisor">The hypervisor; null when it does not answer.</param>
    public static IEnumerable<Finding> Judge(HostFacts facts, HypervisorFacts? hypervisor) =>
        JudgeState(facts.State)
            .Concat(facts.MissingPrograms.Select(sentence => Finding.Problem(Host, sentence)))
            .Concat(JudgeGuardian(facts, hypervisor))
            .Concat(hypervisor is null ? [] : JudgeConfinement(facts, hypervisor))
            .Append(JudgeTls(facts.Tls));

    private static IEnumerable<Finding> JudgeState(StateFacts state)
    {
        if (state.IsOpenToOthers)
        {
            yield return Finding.Problem(
                Host,
                $"State folder '{state.Path}' can be written by others: who plants a journal entry there has commands run by this user.",
                $"chown {Environment.UserName}: '{state.Path}' && chmod 700 '{state.Path}'");
        }
        else if (!state.IsWritable)
        {
            yield return Finding.Problem(
                Host, $"State folder '{state.Path}' cannot be {(state.Exists ? "written" : "made")} by this user.",
                "run as root, or set TIDEMARK_STATE");
        }
        else
        {
            yield return Finding.Ok(Host, $"State folder '{state.Path}' {(state.Exists ? "can be written" : "can be made")}.");
        }
    }

    private static IEnumerable<Finding> JudgeGuardian(HostFacts facts, HypervisorFacts? hypervisor)
    {
        if (hypervisor is null)
            yield break; // A guardian needs the hypervisor; that it does not answer is said already.
        yield return facts.GuardianFailure is { } failure
            ? Finding.Problem(Host, $"No guardian can be started, and without one no backup begins: {failure}")
            : Finding.Ok(Host, "A guardian starts and reaches the hypervisor.");
    }

    private static IEnumerable<Finding> JudgeConfinement(HostFacts facts, HypervisorFacts hypervisor)
    {
        var scratch = facts.Scratch.Path;
        if (hypervisor.SecurityModels.Contains("apparmor", StringComparer.Ordinal) && facts.Confinement.AppArmor)
        {
            yield return facts.Confinement.AppArmorNamesScratch
                ? Finding.Ok(Host, $"AppArmor confines QEMU, and its profile names the scratch folder '{scratch}'.")
                : Finding.Warning(
                    Host,
                    $"AppArmor confines QEMU, and its profile does not name the scratch folder '{scratch}': QEMU may be refused the "
                    + "socket there ('Failed to bind socket … Permission denied').",
                    $"mkdir -p /etc/apparmor.d/local/abstractions && echo '  \"{scratch}/**\" rwk,' >> "
                    + "/etc/apparmor.d/local/abstractions/libvirt-qemu && systemctl reload apparmor");
        }

        if (hypervisor.SecurityModels.Contains("selinux", StringComparer.Ordinal) && facts.Confinement.SeLinux)
        {
            yield return Finding.Note(
                Host,
                $"SELinux confines QEMU; the scratch folder '{scratch}' needs a type that QEMU may make sockets and files in, such "
                    + "as that of "
                + "libvirt's own folder.",
                $"semanage fcontext -a -e /var/lib/libvirt/qemu '{scratch}' && restorecon -Rv '{scratch}'");
        }
    }

    private static Finding JudgeTls(TlsFacts tls) => tls switch
    {
        { Folder: null } =>
            Finding.Ok(Host, "TLS for backups over TCP is not set up; backups of this host use a unix socket and need none."),
        { Missing.Count: > 0 } => Finding.Note(
            Host,
            $"'{tls.ConfigurationFile}' names '{tls.Folder}' for TLS, which lacks {string.Join(", ", tls.Missing)}; only backups over TCP "
            + "would need them."),
        _ => Finding.Ok(Host, $"TLS for backups over TCP is set up in '{tls.Folder}'."),
    };
}
