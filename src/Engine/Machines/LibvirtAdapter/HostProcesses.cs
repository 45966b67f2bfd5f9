// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>What /proc tells of a machine's processes on this host.</summary>
internal static class HostProcesses
{
    /// <summary>User and group that a machine's QEMU runs as; null when no such process is seen.</summary>
    public static (uint User, uint Group)? OwnerOfQemu(string machineUuid)
    {
        foreach (var (folder, arguments) in All())
        {
            var at = Array.IndexOf(arguments, "-uuid");
            if (at < 0 || at + 1 >= arguments.Length || arguments[at + 1] != machineUuid)
                continue;
            if (Identifier(folder, "Uid:") is { } user && Identifier(folder, "Gid:") is { } group)
                return (user, group);
        }

        return null;
    }

    /// <summary>Folder in which the emulated TPM of a running machine keeps its state.</summary>
    public static string? TpmFolder(string machineUuid)
    {
        foreach (var (_, arguments) in All())
        {
            if (arguments.Length == 0 || Path.GetFileName(arguments[0]) != "swtpm")
                continue;
            var state = arguments.SelectMany(argument => argument.Split(','))
                .Where(part => part.StartsWith("dir=", StringComparison.Ordinal))
                .FirstOrDefault(part => part.Contains(machineUuid, StringComparison.Ordinal));
            if (state is not null)
                return state["dir=".Length..];
        }

        return null;
    }

    private static IEnumerable<(string Folder, string[] Arguments)> All()
    {
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!char.IsAsciiDigit(Path.GetFileName(folder)[0]))
                continue;
            string[] arguments;
            try
            {
                arguments = Encoding.UTF8.GetString(File.ReadAllBytes(Path.Combine(folder, "cmdline"))).Split('\0');
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue; // It ended, or belongs to someone who hides it.
            }

            yield return (folder, arguments);
        }
    }

    // The effective id: second number of a line such as "Uid: 64055 64055 64055 64055".
    private static uint? Identifier(string folder, string line)
    {
        try
        {
            var words = File.ReadLines(Path.Combine(folder, "status"))
                .FirstOrDefault(text => text.StartsWith(line, StringComparison.Ordinal))?
                .Split((char[])['\t', ' '], StringSplitOptions.RemoveEmptyEntries);
            var text = words is { Length: > 2 } ? words[2] : "";
            return uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : null;
        }
        catch (IOException)
        {
            return null;
        }
    }
}
