// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt;

namespace Tidemark.Lab;

/// <summary>
/// A libvirt host of our own, away from the machine's: an unprivileged one (<see cref="StartAsync"/>), or a privileged one whose QEMU
/// runs as another user (<see cref="StartSystemAsync"/>). Several may run at once. Disposing it, or the death of this process, ends its
/// daemon and machines and removes its folder.
/// </summary>
public sealed class LabHost : IAsyncDisposable
{
    /// <summary>Space in <see cref="SmallFolder"/>.</summary>
    public const int SmallFolderBytes = 1 << 20;

    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(30);

    private readonly LabFolders _folders;
    private readonly LabDaemon _daemon;
    private readonly Reaper _reaper;
    private LibvirtConnection? _connection;

    private LabHost(LabFolders folders, bool isSystem)
    {
        _folders = folders;
        IsSystem = isSystem;
        _daemon = new LabDaemon(folders, isSystem);
        _reaper = Reaper.Start(folders.Root);
        Folder = CreateFolder("img");
        SmallFolder = isSystem ? CreateFolder("small") : null;
        Uri = $"qemu+unix:///{(isSystem ? "system" : "session")}?socket={folders.Socket}";
    }

    /// <summary>What clients connect to, root included.</summary>
    public string Uri { get; }

    public bool IsSystem { get; }

    /// <summary>For disk images; QEMU's user may read and write there.</summary>
    public string Folder { get; }

    /// <summary>
    /// A folder with little space, for scratch files that must run full; seen by libvirt and QEMU only. Privileged hosts have one.
    /// </summary>
    public string? SmallFolder { get; }

    /// <summary>A connection kept open for the life of the host.</summary>
    public LibvirtConnection Connection => _connection ?? throw new InvalidOperationException("The lab host has not started.");

    /// <summary>The user QEMU runs as.</summary>
    public int QemuUserId => (int)_folders.UserId;

    public int QemuGroupId => (int)_folders.GroupId;

    public int DaemonProcessId => _daemon.ProcessId;

    /// <summary>What libvirtd wrote to its standard output and error.</summary>
    public string DaemonLog => _folders.DaemonLog;

    /// <summary>Why no host can be started here; null when one can.</summary>
    public static string? WhyUnavailable()
    {
        (string Program, string Package)[] needed =
        [
            ("libvirtd", "libvirt-daemon"),
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("qemu-img", "qemu-utils"),
            ("setpriv", "util-linux"),
            ("perl", "perl-base"),
        ];
        foreach (var (program, package) in needed)
        {
            if (Tool.Find(program) == null)
                return $"'{program}' is not installed (package '{package}').";
        }
        return null;
    }

    /// <summary>Why no privileged host can be started here; null when one can.</summary>
    public static async Task<string?> WhySystemUnavailableAsync(CancellationToken cancellationToken)
    {
        if (WhyUnavailable() is { } reason)
            return reason;
        if (!Posix.IsRoot)
            return "A privileged libvirt host needs root.";
        try
        {
            await Tool.RunAsync("unshare", ["-m", "-n", "true"], cancellationToken);
            return null;
        }
        catch (InvalidOperationException exception)
        {
            return $"A privileged libvirt host needs namespaces of its own: {exception.Message}";
        }
    }

    /// <summary>Starts an unprivileged host; under root its daemon and QEMU run as 'nobody'.</summary>
    /// <exception cref="LabUnavailableException">A program is missing.</exception>
    public static Task<LabHost> StartAsync(CancellationToken cancellationToken = default)
    {
        if (WhyUnavailable() is { } reason)
            throw new LabUnavailableException(reason);
        var account = Posix.IsRoot
            ? Account.Find("nobody") ?? throw new LabUnavailableException("There is no user 'nobody'.")
            : new Account(Posix.GetEffectiveUserId(), Posix.GetEffectiveGroupId());
        return StartHostAsync(isSystem: false, account, cancellationToken);
    }

    /// <summary>Starts a privileged host in its own mount and network namespace, QEMU running as 'libvirt-qemu'.</summary>
    /// <exception cref="LabUnavailableException">Not root, or no namespaces.</exception>
    public static async Task<LabHost> StartSystemAsync(CancellationToken cancellationToken = default)
    {
        if (await WhySystemUnavailableAsync(cancellationToken) is { } reason)
            throw new LabUnavailableException(reason);
        return await StartHostAsync(isSystem: true, Account.Find(Account.QemuName) ?? Account.Qemu, cancellationToken);
    }

    /// <summary>A new folder that QEMU's user may write, for images, sockets or scratch files.</summary>
    public string CreateFolder(string name)
    {
        var folder = Path.Combine(_folders.Root, name);
        Directory.CreateDirectory(folder);
        GiveToQemu(folder);
        return folder;
    }

    /// <summary>Makes a file or folder belong to QEMU's user.</summary>
    public void GiveToQemu(string path) => Posix.ChangeOwner(path, _folders.UserId, _folders.GroupId);

    /// <summary>Ends libvirtd only; machines go on. It is a lost connection to every client.</summary>
    public Task StopDaemonAsync(bool kill = false, CancellationToken cancellationToken = default) =>
        _daemon.StopAsync(kill ? Posix.SigKill : Posix.SigTerm, cancellationToken);

    /// <summary>Starts libvirtd again on the same folders and waits until it answers; existing connections must be reopened.</summary>
    public async Task StartDaemonAsync(CancellationToken cancellationToken = default)
    {
        await _daemon.StartAsync(cancellationToken);
        if (_connection == null)
            _connection = await ConnectAsync(cancellationToken);
        else
            await _connection.ReopenAsync(StartPatience, cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (_connection != null)
            await _connection.DisposeAsync();
        await _reaper.DisposeAsync();
        _daemon.Dispose();
        QemuIo.Dispose();
    }

    /// <summary>Held while a qemu-io command runs, so that the news in the machine's log are its own.</summary>
    internal SemaphoreSlim QemuIo { get; } = new(1, 1);

    internal string MachineLog(string name) => _folders.MachineLog(name);

    internal int MachineProcessId(string name) => int.Parse(File.ReadAllText(_folders.MachinePidFile(name)).Trim());

    private static async Task<LabHost> StartHostAsync(bool isSystem, Account account, CancellationToken cancellationToken)
    {
        var folders = new LabFolders(isSystem, account.UserId, account.GroupId);
        CapabilitiesCache.Load(folders, isSystem);
        LabConfiguration.Write(folders, isSystem);
        folders.GiveAway();
        var host = new LabHost(folders, isSystem);
        try
        {
            await host.StartDaemonAsync(cancellationToken);
            await host.Connection.GetCapabilitiesAsync(cancellationToken);
            CapabilitiesCache.Save(folders, isSystem);
            return host;
        }
        catch
        {
            await host.DisposeAsync();
            throw;
        }
    }

    private async Task<LibvirtConnection> ConnectAsync(CancellationToken cancellationToken)
    {
        var clock = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                return await LibvirtConnection.OpenAsync(Uri, cancellationToken: cancellationToken);
            }
            catch (LibvirtConnectionException exception)
            {
                if (!_daemon.IsRunning || TimeProvider.System.GetElapsedTime(clock) > StartPatience)
                    throw new InvalidOperationException($"The lab's libvirtd did not start; its log:\n{ReadLog()}", exception);
                await Task.Delay(50, cancellationToken);
            }
        }
    }

    private string ReadLog() => File.Exists(DaemonLog) ? File.ReadAllText(DaemonLog) : "(empty)";
}
