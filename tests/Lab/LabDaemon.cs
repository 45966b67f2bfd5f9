// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Tidemark.Lab;

/// <summary>
/// The libvirtd of one lab host, stopped by its process id and started again on the same folders. Between it and us stands a
/// supervisor: QEMU leaves libvirtd's family, and libvirt waits 15 s for a dead QEMU that nobody collects, as happens in containers
/// whose first process is no real init.
/// </summary>
internal sealed class LabDaemon(LabFolders folders, bool isSystem) : IDisposable
{
    // Idle daemons leave by themselves; one that has machines is ended by the reaper.
    private const int IdleSeconds = 120;

    // Becomes the parent of orphans (PR_SET_CHILD_SUBREAPER = 36), starts the daemon, tells its id and collects the dead until no child
    // is left.
    private const string Supervisor = """
        syscall(shift @ARGV, 36, 1, 0, 0, 0) == 0 or die "no subreaper: $!";
        my $pid = fork // die "no fork: $!";
        if (!$pid) { close STDOUT; exec @ARGV; die "no $ARGV[0]: $!" }
        $| = 1; print "$pid\n"; close STDOUT;
        1 while wait != -1;
        """;

    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(40);

    private readonly List<Process> _supervisors = [];
    private int? _processId;

    internal int ProcessId => _processId ?? throw new InvalidOperationException("The lab's libvirtd does not run.");

    internal bool IsRunning => Directory.Exists($"/proc/{_processId}");

    internal async Task StartAsync(CancellationToken cancellationToken)
    {
        var libvirtd = $"exec {Tool.Find("libvirtd")} --timeout {IdleSeconds} -p '{folders.PidFile}' >>'{folders.DaemonLog}' 2>&1";
        var prctl = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 157 : 167;
        var start = new ProcessStartInfo("setsid", ["perl", "-e", Supervisor, prctl.ToString()])
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
            WorkingDirectory = "/",
        };
        if (isSystem)
            AddAll(start, "unshare", "-m", "-n", "--propagation", "private", "sh", "-ec", $"{SystemMounts()}\n{libvirtd}");
        else if (Posix.IsRoot)
            AddAll(start, "setpriv", $"--reuid={folders.UserId}", $"--regid={folders.GroupId}", "--clear-groups", "sh", "-ec", libvirtd);
        else
            AddAll(start, "sh", "-ec", libvirtd);
        SetEnvironment(start);
        var supervisor = Process.Start(start)!;
        _supervisors.Add(supervisor);
        var line = await supervisor.StandardOutput.ReadLineAsync(cancellationToken);
        _processId = int.Parse(line ?? throw new InvalidOperationException("The supervisor of the lab's libvirtd did not start."));
    }

    internal async Task StopAsync(int signal, CancellationToken cancellationToken)
    {
        Posix.Signal(ProcessId, signal);
        var clock = TimeProvider.System.GetTimestamp();
        while (IsRunning)
        {
            if (TimeProvider.System.GetElapsedTime(clock) > StopPatience)
                throw new TimeoutException($"The lab's libvirtd {ProcessId} did not end after signal {signal}.");
            await Task.Delay(5, cancellationToken);
        }
        _processId = null;
    }

    // The reaper ends the processes; this frees what .NET holds of them.
    public void Dispose() => _supervisors.ForEach(supervisor => supervisor.Dispose());

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
    /// Puts the host's folders in the place of the machine's own, for this daemon and its QEMUs only. libvirtd refuses to start where
    /// the user 'libvirt-qemu' is unknown, whatever its configuration says, so the private /etc/passwd has it. An empty /run/dbus keeps
    /// it away from the machine's systemd and polkit. /dev/kvm is out of reach of QEMU's user: where it exists without working, libvirt
    /// would ask every QEMU for its abilities again at each start.
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
        mount -t tmpfs -o size={LabHost.SmallFolderBytes},mode=0777 tmpfs '{folders.Small}'
        test ! -e /dev/kvm || mount --bind '{folders.NoKvmFile}' /dev/kvm
        test ! -d /run/dbus || mount -t tmpfs tmpfs /run/dbus
        """;
}
