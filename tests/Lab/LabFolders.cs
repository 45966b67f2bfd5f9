// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Lab;

/// <summary>
/// The folders of one lab host, all below one with a short random name: a socket path holds 107 bytes, and libvirt adds some 60 of its own.
/// </summary>
internal sealed class LabFolders
{
    private const uint Open = 0x1ED; // 0755
    private const uint Private = 0x1C0; // 0700

    private readonly bool _isSystem;

    internal LabFolders(bool isSystem, uint userId, uint groupId)
    {
        _isSystem = isSystem;
        UserId = userId;
        GroupId = groupId;
        Root = $"/tmp/tml-{Path.GetRandomFileName()[..6]}";
        foreach (var folder in new[] { Root, Home, Configuration, Cache, Data, Logs, DaemonConfiguration })
            Create(folder, Open);
        Create(Runtime, isSystem ? Open : Private);
    }

    internal string Root { get; }

    /// <summary>Whom QEMU runs as.</summary>
    internal uint UserId { get; }

    internal uint GroupId { get; }

    internal string Home => Path.Combine(Root, "home");

    internal string Configuration => Path.Combine(Root, "etc");

    internal string Cache => Path.Combine(Root, "cache");

    internal string Data => Path.Combine(Root, "data");

    internal string Logs => Path.Combine(Root, "log");

    internal string Runtime => Path.Combine(Root, "run");

    internal string PidFile => Path.Combine(_isSystem ? Root : Home, "libvirtd.pid");

    internal string DaemonLog => Path.Combine(Logs, "libvirtd.log");

    internal string PasswdFile => Path.Combine(Root, "passwd");

    internal string GroupFile => Path.Combine(Root, "group");

    internal string Small => Path.Combine(Root, "small");

    internal string NoKvmFile => Path.Combine(Root, "no-kvm");

    internal string DaemonConfiguration => _isSystem ? Configuration : Path.Combine(Configuration, "libvirt");

    internal string Socket => Path.Combine(_isSystem ? Runtime : Path.Combine(Runtime, "libvirt"), "libvirt-sock");

    internal string Capabilities => Path.Combine(_isSystem ? Cache : QemuCache, "qemu", _isSystem ? "" : "cache", "capabilities");

    private string QemuCache => Path.Combine(Cache, "libvirt");

    internal string MachineLog(string name) =>
        _isSystem ? Path.Combine(Logs, "qemu", name + ".log") : Path.Combine(QemuCache, "qemu", "log", name + ".log");

    internal string MachinePidFile(string name) =>
        Path.Combine(_isSystem ? Runtime : Path.Combine(Runtime, "libvirt"), "qemu", _isSystem ? "" : "run", name + ".pid");

    private static void Create(string folder, uint mode)
    {
        Directory.CreateDirectory(folder);
        Posix.ChangeMode(folder, mode);
    }

    /// <summary>Gives all that is there to the user of an unprivileged daemon.</summary>
    internal void GiveAway()
    {
        if (_isSystem)
            return;
        Posix.ChangeOwner(Root, UserId, GroupId);
        foreach (var path in Directory.EnumerateFileSystemEntries(Root, "*", SearchOption.AllDirectories))
            Posix.ChangeOwner(path, UserId, GroupId);
    }
}
