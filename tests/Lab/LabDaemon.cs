// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Lab;

/// <summary>The libvirtd of one lab host: started in the foreground as our child, stopped by its process id, started again on the same folders.</summary>
internal sealed class LabDaemon(LabFolders folders, bool isSystem) : IDisposable
{
    // Idle daemons leave by themselves; one that has machines is ended by the reaper.
    private const int IdleSeconds = 120;

    private Process? _process;

    internal int ProcessId => _process?.Id ?? throw new InvalidOperationException("The lab's libvirtd does not run.");

    internal bool IsRunning => _process is { HasExited: false };

    internal void Start()
    {
        Stop(Posix.SigTerm);
        var libvirtd = $"exec {Tool.Find("libvirtd")} --timeout {IdleSeconds} -p '{folders.PidFile}' >>'{folders.DaemonLog}' 2>&1";
        var start = new ProcessStartInfo("setsid") { WorkingDirectory = "/" };
        if (isSystem)
            AddAll(start, "unshare", "-m", "-n", "--propagation", "private", "sh", "-ec", $"{SystemMounts()}\n{libvirtd}");
        else if (Posix.IsRoot)
            AddAll(start, "setpriv", $"--reuid={folders.UserId}", $"--regid={folders.GroupId}", "--clear-groups", "sh", "-ec", libvirtd);
        else
            AddAll(start, "sh", "-ec", libvirtd);
        SetEnvironment(start);
        _process = Process.Start(start)!;
    }

    internal void Stop(int signal)
    {
        if (_process == null)
            return;
        if (!_process.HasExited)
            Posix.Signal(_process.Id, signal);
        _process.WaitForExit();
        _process.Dispose();
        _process = null;
    }

    // The reaper ends the process; this frees what .NET holds of it.
    public void Dispose() => _process?.Dispose();

    private static void AddAll(ProcessStartInfo start, params string[] arguments)
    {
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
    }

    private void SetEnvironment(ProcessStartInfo start)
    {
        start.Environment.Clear();
        start.Environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        start.Environment["LC_ALL"] = "C";
        if (isSystem)
            return;
        start.Environment["HOME"] = folders.Home;
        start.Environment["XDG_RUNTIME_DIR"] = folders.Runtime;
        start.Environment["XDG_CONFIG_HOME"] = folders.Configuration;
        start.Environment["XDG_CACHE_HOME"] = folders.Cache;
        start.Environment["XDG_DATA_HOME"] = folders.Data;
    }

    /// <summary>
    /// Puts the host's folders in the place of the machine's own, for this daemon and its QEMUs only. libvirtd refuses to start where the user
    /// 'libvirt-qemu' is unknown, whatever its configuration says, so the private /etc/passwd has it. An empty /run/dbus keeps it away from the
    /// machine's systemd and polkit.
    /// </summary>
    private string SystemMounts() => $"""
        mkdir -p /etc/libvirt /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
        mount --bind '{folders.Configuration}' /etc/libvirt
        mount --bind '{folders.Runtime}' /run/libvirt
        mount --bind '{folders.Data}' /var/lib/libvirt
        mount --bind '{folders.Cache}' /var/cache/libvirt
        mount --bind '{folders.Logs}' /var/log/libvirt
        mount --bind '{folders.PasswdFile}' /etc/passwd
        mount --bind '{folders.GroupFile}' /etc/group
        test ! -d /run/dbus || mount -t tmpfs tmpfs /run/dbus
        """;
}
