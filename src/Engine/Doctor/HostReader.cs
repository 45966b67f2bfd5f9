// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Native;
using Tidemark.Engine.Runs;
using Tidemark.Qemu;

namespace Tidemark.Engine.Doctor;

/// <summary>Reads the facts of this host; changes nothing.</summary>
internal sealed class HostReader(HostFolders folders, string root = "/")
{
    private static readonly string[] Programs = ["qemu-img", "qemu-nbd", "qemu-storage-daemon", "setpriv", "setsid"];
    private static readonly string[] Certificates = ["ca-cert.pem", "server-cert.pem", "server-key.pem"];

    /// <param name="hypervisor">What is known of the hypervisor; null when it does not answer.</param>
    /// <param name="qemuOwner">User and group of QEMU, from running machines where there are some.</param>
    /// <param name="guardianFailure">Why a guardian does not start; null when it does.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<HostFacts> ReadAsync(
        HypervisorFacts? hypervisor, (uint User, uint Group)? qemuOwner, string? guardianFailure, CancellationToken cancellationToken) =>
        new()
        {
            IsRoot = Environment.IsPrivilegedProcess,
            Scratch = await ReadScratchAsync(qemuOwner, cancellationToken),
            State = ReadState(),
            MissingPrograms = Programs.Select(WhyMissing).OfType<string>().ToList(),
            GuardianFailure = guardianFailure,
            Confinement = ReadConfinement(),
            Tls = ReadTls(hypervisor?.IsSystem != false),
            Leftovers = await new LeftoverReader(folders).ReadAsync(cancellationToken),
        };

    private async Task<ScratchFacts> ReadScratchAsync((uint User, uint Group)? qemuOwner, CancellationToken cancellationToken)
    {
        var path = folders.Scratch;
        var existing = Existing(path);
        var drive = new DriveInfo(existing);
        var canTry = qemuOwner is not null && Environment.IsPrivilegedProcess;
        var mode = Directory.Exists(path) ? File.GetUnixFileMode(path) : UnixFileMode.None;
        return new ScratchFacts
        {
            Path = path,
            Exists = Directory.Exists(path),
            FileSystem = drive.DriveFormat,
            FreeBytes = drive.AvailableFreeSpace,
            IsOpenToAll = mode.HasFlag(UnixFileMode.OtherWrite) && !mode.HasFlag(UnixFileMode.StickyBit),
            IsWritable = FileCalls.IsWritable(existing),
            CanGiveAway = qemuOwner is null || Environment.IsPrivilegedProcess
                || FileCalls.OwnerOf("/proc/self")?.User == qemuOwner.Value.User,
            IsPassageKnown = canTry || qemuOwner?.User == FileCalls.OwnerOf("/proc/self")?.User,
            Impassable = canTry ? await Passage.FirstClosedAsync(existing, qemuOwner!.Value, cancellationToken) : null,
        };
    }

    private StateFacts ReadState()
    {
        var exists = Directory.Exists(folders.State);
        var isForeign = exists && FileCalls.OwnerOf(folders.State)?.User is { } owner && owner != 0
            && owner != FileCalls.OwnerOf("/proc/self")?.User;
        const UnixFileMode Others = UnixFileMode.OtherWrite | UnixFileMode.GroupWrite;
        return new StateFacts
        {
            Path = folders.State,
            Exists = exists,
            IsWritable = FileCalls.IsWritable(Existing(folders.State)),
            IsOpenToOthers = exists && (isForeign || (File.GetUnixFileMode(folders.State) & Others) != UnixFileMode.None),
        };
    }

    private static string? WhyMissing(string program)
    {
        try
        {
            ToolPath.Find(program);
            return null;
        }
        catch (ImageToolException e)
        {
            return e.Message;
        }
    }

    private ConfinementFacts ReadConfinement()
    {
        var rules = (string[])["abstractions/libvirt-qemu", "local/abstractions/libvirt-qemu", "libvirt/TEMPLATE.qemu"];
        var files = rules.Select(name => PathOf($"etc/apparmor.d/{name}")).Concat(
            Directory.Exists(PathOf("etc/apparmor.d/abstractions/libvirt-qemu.d"))
                ? Directory.EnumerateFiles(PathOf("etc/apparmor.d/abstractions/libvirt-qemu.d"))
                : []);
        return new ConfinementFacts(
            Text(PathOf("sys/module/apparmor/parameters/enabled")).StartsWith('Y'),
            files.Any(file => Text(file).Contains(folders.Scratch, StringComparison.Ordinal)),
            Text(PathOf("sys/fs/selinux/enforce")).StartsWith('1'));
    }

    private TlsFacts ReadTls(bool isSystem)
    {
        var file = isSystem ? PathOf("etc/libvirt/qemu.conf") : Path.Combine(
            Environment.GetFolderPath(Environment.SpecialFolder.ApplicationData), "libvirt", "qemu.conf");
        var folder = QemuSettings.Find(Text(file), "backup_tls_x509_cert_dir")
            ?? QemuSettings.Find(Text(file), "default_tls_x509_cert_dir");
        return new TlsFacts(
            file, folder, folder is null ? [] : Certificates.Where(name => !File.Exists(Path.Combine(folder, name))).ToList());
    }

    private string PathOf(string name) => Path.Combine(root, name);

    private static string Existing(string path)
    {
        while (!Directory.Exists(path) && Path.GetDirectoryName(path) is { } parent)
            path = parent;
        return path;
    }

    private static string Text(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return ""; // Not there, or not for this user: nothing is known of it.
        }
    }
}
