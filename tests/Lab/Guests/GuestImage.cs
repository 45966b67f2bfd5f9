// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using System.Security.Cryptography;
using Tidemark.Qemu;

namespace Tidemark.Lab.Guests;

/// <summary>The kernel and the first file system of the lab guest: what a machine boots directly, without any installed system.</summary>
public sealed record GuestImage(string Kernel, string Initrd)
{
    private const byte Layout = 1;

    // By their names in the guest.
    private static readonly (string Path, string Resource)[] Scripts =
    [
        ("init", "init.sh"), ("bin/guest-writer", "guest-writer.sh"), ("bin/guest-check", "guest-check.sh"),
        ("bin/agent-pause", "agent-pause.sh"),
    ];

    private static readonly TimeSpan LockLimit = TimeSpan.FromMinutes(5);

    // In load order. What a kernel has built in is left out.
    private static readonly string[] Modules =
    [
        "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "virtio_console",
    ];

    /// <summary>
    /// Where guests are kept between runs: TIDEMARK_LAB_CACHE, else the user's cache folder; for root one that QEMU's user can read too.
    /// </summary>
    public static string DefaultCacheFolder
    {
        get
        {
            if (Environment.GetEnvironmentVariable("TIDEMARK_LAB_CACHE") is { Length: > 0 } chosen)
                return chosen;
            if (Environment.UserName == "root")
                return "/var/cache/tidemark-lab";
            var home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? xdg : Path.Combine(home, ".cache");
            return Path.Combine(cache, "tidemark-lab");
        }
    }

    /// <summary>
    /// Returns the guest of a cache folder, building it when it is not there: about 27 MB of Debian packages are fetched and
    /// unpacked, nothing is installed. Its files can be read by every user. Several processes may ask at once.
    /// </summary>
    /// <exception cref="ImageToolException">A tool or a package is missing, or can't be fetched.</exception>
    public static async Task<GuestImage> BuildAsync(string cacheFolder, CancellationToken cancellationToken)
    {
        var folder = Path.Combine(Path.GetFullPath(cacheFolder), $"guest-{Version()}");
        var image = new GuestImage(Path.Combine(folder, "vmlinuz"), Path.Combine(folder, "initrd"));
        Directory.CreateDirectory(cacheFolder);
        using var exclusive = await LockAsync(folder + ".lock", cancellationToken);
        if (Directory.Exists(folder))
            return image;

        var work = Directory.CreateTempSubdirectory("tidemark-guest");
        var done = folder + ".new";
        try
        {
            Directory.CreateDirectory(done);
            var packages = new GuestPackages(work.FullName);
            var kernel = await packages.KernelAsync(cancellationToken);
            var agent = await packages.AgentAsync(cancellationToken);
            // Content only: Ubuntu's kernel can be read by root alone, and the machine that boots it runs as someone else.
            var content = await File.ReadAllBytesAsync(kernel.Path, cancellationToken);
            await File.WriteAllBytesAsync(Path.Combine(done, "vmlinuz"), content, cancellationToken);
            await using (var output = File.Create(Path.Combine(done, "initrd")))
                await WriteInitrdAsync(output, kernel, agent, cancellationToken);
            Directory.Move(done, folder);
            return image;
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private static async Task WriteInitrdAsync(Stream output, GuestKernel kernel, string agent, CancellationToken cancellationToken)
    {
        var archive = new CpioArchive(output);
        foreach (var folder in (string[])["proc", "sys", "dev", "run", "mnt", "tmp"])
            archive.AddFolder(folder);
        archive.AddCharacterDevice("dev/console", 5, 1);
        foreach (var (path, resource) in Scripts)
            archive.AddFile(path, Resource(resource), executable: true);

        var loaded = Modules.Select(kernel.FindModule).OfType<string>().ToList();
        foreach (var module in loaded)
            archive.AddFile($"modules/{Path.GetFileName(module)}", await File.ReadAllBytesAsync(module, cancellationToken));
        archive.AddFile("modules/order", System.Text.Encoding.UTF8.GetBytes(string.Join('\n', loaded.Select(Path.GetFileName)) + '\n'));

        var busybox = ToolPath.Find("busybox");
        archive.AddFile("bin/busybox", await File.ReadAllBytesAsync(busybox, cancellationToken), executable: true);
        var (_, applets) = await OwnedProcess.RunAsync("busybox", ["--list"], "list its commands", cancellationToken);
        foreach (var applet in applets.Split('\n').Where(a => a is not ("busybox" or "")))
            archive.AddLink($"bin/{applet}", "busybox");

        (string Name, string Path)[] programs = [("mkfs.ext4", ToolPath.Find("mkfs.ext4")), ("qemu-ga", agent)];
        foreach (var (name, path) in programs)
            archive.AddFile($"bin/{name}", await File.ReadAllBytesAsync(path, cancellationToken), executable: true);
        foreach (var library in await GuestPackages.LibrariesAsync(programs.Select(p => p.Path), cancellationToken))
            archive.AddFile(library[1..], await File.ReadAllBytesAsync(library, cancellationToken), executable: true);
        if (File.Exists("/etc/mke2fs.conf"))
            archive.AddFile("etc/mke2fs.conf", await File.ReadAllBytesAsync("/etc/mke2fs.conf", cancellationToken));
        archive.Complete();
    }

    // Layout is raised when the code above puts other things into the guest. A cached guest keeps its kernel until its folder is deleted.
    private static string Version() =>
        Convert.ToHexStringLower(SHA256.HashData([Layout, .. Scripts.SelectMany(script => Resource(script.Resource))]))[..12];

    private static byte[] Resource(string name)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!;
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }

    private static async Task<FileStream> LockAsync(string path, CancellationToken cancellationToken)
    {
        for (var start = TimeProvider.System.GetTimestamp(); ;)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (TimeProvider.System.GetElapsedTime(start) < LockLimit)
            {
                await Task.Delay(100, cancellationToken);
            }
        }
    }
}
