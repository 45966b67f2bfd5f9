// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;
using Tidemark.Qemu;

namespace Tidemark.Lab.Guests;

/// <summary>An unpacked kernel: its image, and the folder of its modules.</summary>
internal sealed record GuestKernel(string Path, string ModuleFolder)
{
    /// <summary>Path of a module, or null when the kernel has it built in.</summary>
    public string? FindModule(string name)
    {
        var file = Directory.EnumerateFiles(ModuleFolder, $"{name}.ko", SearchOption.AllDirectories).FirstOrDefault();
        if (file is not null)
            return file;
        var builtIn = System.IO.Path.Combine(ModuleFolder, "modules.builtin");
        return File.Exists(builtIn) && File.ReadLines(builtIn).Any(line => line.EndsWith($"/{name}.ko", StringComparison.Ordinal))
            ? null
            : throw new ImageToolException("dpkg-deb", null, "", $"The guest kernel '{Path}' has no module '{name}' that can be loaded.");
    }
}

/// <summary>Fetches Debian and Ubuntu packages with apt and unpacks them into a folder, without installing them.</summary>
internal sealed partial class GuestPackages(string folder)
{
    // Debian's small kernel for virtual machines, then Ubuntu's.
    private static readonly string[] KernelNames = ["linux-image-cloud-amd64", "linux-image-virtual", "linux-image-kvm"];

    public async Task<GuestKernel> KernelAsync(CancellationToken cancellationToken)
    {
        var package = await ResolveKernelAsync(cancellationToken);
        var root = await UnpackAsync(package, "kernel", cancellationToken);
        var modules = package.Replace("linux-image-", "linux-modules-", StringComparison.Ordinal);
        if (!Directory.Exists(Path.Combine(root, "lib/modules")))
            await UnpackAsync(modules, "kernel", cancellationToken);
        return new GuestKernel(
            Directory.EnumerateFiles(Path.Combine(root, "boot"), "vmlinuz-*").Single(),
            Directory.EnumerateDirectories(Path.Combine(root, "lib/modules")).Single());
    }

    /// <summary>The guest agent: the machine's own when it is installed, else fetched.</summary>
    public async Task<string> AgentAsync(CancellationToken cancellationToken)
    {
        const string Installed = "/usr/sbin/qemu-ga";
        return File.Exists(Installed)
            ? Installed
            : Path.Combine(await UnpackAsync("qemu-guest-agent", "agent", cancellationToken), "usr/sbin/qemu-ga");
    }

    /// <summary>The shared libraries that programs need, as absolute paths, each once.</summary>
    public static async Task<IReadOnlyList<string>> LibrariesAsync(IEnumerable<string> programs, CancellationToken cancellationToken)
    {
        var (_, output) = await OwnedProcess.RunAsync("ldd", programs, "list the libraries of the guest's programs", cancellationToken);
        if (output.Split('\n').FirstOrDefault(line => line.Contains("not found", StringComparison.Ordinal)) is { } missing)
            throw new ImageToolException("ldd", 0, output, $"A library of the guest's programs is not installed here: '{missing.Trim()}'.");
        return [.. LibraryPath().Matches(output).Select(match => match.Groups[1].Value).Distinct(StringComparer.Ordinal)];
    }

    private static async Task<string> ResolveKernelAsync(CancellationToken cancellationToken)
    {
        for (var updated = false; ; updated = true)
        {
            foreach (var name in KernelNames)
            {
                var (exitCode, output) = await OwnedProcess.RunAsync(
                    "apt-cache", ["depends", name], $"find '{name}'", cancellationToken, accepted: [0, 100]);
                if (exitCode == 0 && KernelDependency().Match(output) is { Success: true } match)
                    return match.Groups[1].Value;
            }

            if (updated || Environment.UserName != "root")
                throw new ImageToolException("apt-cache", 100, "", "apt knows no kernel for machines; run 'apt-get update' as root.");
            await OwnedProcess.RunAsync("apt-get", ["update", "-q"], "update the package lists", cancellationToken);
        }
    }

    private async Task<string> UnpackAsync(string package, string name, CancellationToken cancellationToken)
    {
        var download = Directory.CreateDirectory(Path.Combine(folder, $"{package}.deb")).FullName;
        const string Fetch = "cd \"$1\" && exec apt-get download -q -o APT::Sandbox::User=root \"$2\"";
        await OwnedProcess.RunAsync("sh", ["-c", Fetch, "sh", download, package], $"fetch the package '{package}'", cancellationToken);
        var root = Path.Combine(folder, name);
        var file = Directory.EnumerateFiles(download, "*.deb").Single();
        await OwnedProcess.RunAsync("dpkg-deb", ["-x", file, root], $"unpack the package '{package}'", cancellationToken);
        return root;
    }

    [GeneratedRegex(@"^\s*Depends: (linux-image-[0-9]\S+)", RegexOptions.Multiline, 1000)]
    private static partial Regex KernelDependency();

    [GeneratedRegex(@"(/\S+) \(0x", RegexOptions.None, 1000)]
    private static partial Regex LibraryPath();
}
