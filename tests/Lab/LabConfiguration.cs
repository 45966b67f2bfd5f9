// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Lab;

/// <summary>Writes libvirtd.conf and qemu.conf of a lab host, and for a privileged one the account files its daemon sees.</summary>
internal static class LabConfiguration
{
    internal static void Write(LabFolders folders, bool isSystem)
    {
        // Hosts on one machine would share the firmware's UUID, which migration refuses.
        var daemon = $"host_uuid = \"{Guid.NewGuid()}\"\n";
        // Without a log daemon QEMU's output goes straight to the machine's log file.
        var qemu = "stdio_handler = \"file\"\n";
        if (isSystem)
        {
            daemon += "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nunix_sock_group = \"root\"\n";
            // Cgroups, device namespaces and AppArmor may be missing here; ownership by user stays as on users' hosts.
            qemu += $"""
                user = "+{folders.UserId}"
                group = "+{folders.GroupId}"
                dynamic_ownership = 1
                security_driver = "none"
                cgroup_controllers = [ ]
                namespaces = [ ]
                remember_owner = 0

                """;
            WriteAccounts(folders);
        }
        File.WriteAllText(Path.Combine(folders.DaemonConfiguration, "libvirtd.conf"), daemon);
        File.WriteAllText(Path.Combine(folders.DaemonConfiguration, "qemu.conf"), qemu);
    }

    private static void WriteAccounts(LabFolders folders)
    {
        var passwd = File.ReadAllText("/etc/passwd");
        var group = File.ReadAllText("/etc/group");
        if (Account.Find(Account.QemuName) == null)
        {
            passwd += $"{Account.QemuName}:x:{folders.UserId}:{folders.GroupId}::/nonexistent:/usr/sbin/nologin\n";
            group += $"{Account.QemuName}:x:{folders.GroupId}:\n";
        }
        File.WriteAllText(folders.PasswdFile, passwd);
        File.WriteAllText(folders.GroupFile, group);
    }
}
