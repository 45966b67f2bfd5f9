// SPDX-License-Identifier: Apache-2.0
using System.Collections.Frozen;

namespace Tidemark.Qemu;

/// <summary>Where a program lies: PATH first, then the system folders that an ordinary user's PATH leaves out.</summary>
public static class ToolPath
{
    private static readonly FrozenDictionary<string, string> Packages = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["qemu-img"] = "qemu-utils",
        ["qemu-nbd"] = "qemu-utils",
        ["qemu-storage-daemon"] = "qemu-system-common",
        ["qemu-system-x86_64"] = "qemu-system-x86",
        ["setpriv"] = "util-linux",
        ["setsid"] = "util-linux",
        ["e2fsck"] = "e2fsprogs",
        ["debugfs"] = "e2fsprogs",
        ["mkfs.ext4"] = "e2fsprogs",
        ["busybox"] = "busybox-static",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Full path of a program.</summary>
    /// <exception cref="ImageToolException">It is not installed; the message names the package that holds it.</exception>
    public static string Find(string tool)
    {
        ArgumentException.ThrowIfNullOrEmpty(tool);
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return tool.Contains('/') ? tool : Find(tool, folders.Concat(["/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]));
    }

    internal static string Find(string tool, IEnumerable<string> folders)
    {
        foreach (var folder in folders)
        {
            var path = Path.Combine(folder, tool);
            if (File.Exists(path))
                return path;
        }

        var hint = Packages.TryGetValue(tool, out var package) ? $"; the package '{package}' holds it" : "";
        throw new ImageToolException(tool, null, "", $"The program '{tool}' is not installed{hint}.");
    }
}
