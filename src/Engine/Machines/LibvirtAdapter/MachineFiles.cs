// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Finds the files that belong to a machine besides its disks.</summary>
internal static class MachineFiles
{
    /// <param name="xml">The definition.</param>
    /// <param name="tpmFolder">Where the state of its emulated TPM is; asked only where it has one.</param>
    public static MachineDefinition Collect(string xml, Func<string> tpmFolder)
    {
        var description = DomainDescription.Parse(xml);
        var files = new List<MachineFile>();
        var warnings = new List<string>();
        Add("nvram", description.Boot.NvramPath);
        Add("kernel", description.Boot.Kernel);
        Add("initrd", description.Boot.Initrd);
        Add("dtb", description.Boot.DeviceTree);
        if (description.Tpm?.Backend == "emulator")
            AddTpm(tpmFolder(), files, warnings);
        else if (description.Tpm is not null)
            warnings.Add("The machine's TPM is not an emulated one; its state stays with the host.");
        return new MachineDefinition(xml, files, warnings);

        void Add(string role, string? path)
        {
            if (path is null)
                return;
            if (WhyUnreadable(path) is { } reason)
                warnings.Add($"The machine's {role} file is not in the backup: {reason}");
            else
                files.Add(new MachineFile(role, Path.GetFileName(path), path));
        }
    }

    /// <summary>Where libvirt keeps the state of emulated TPMs: one place for the system's machines, one for each user's.</summary>
    public static string TpmFolder(string uri, string machineUuid)
    {
        if (uri.EndsWith("/system", StringComparison.Ordinal))
            return $"/var/lib/libvirt/swtpm/{machineUuid}";
        var config = Environment.GetEnvironmentVariable("XDG_CONFIG_HOME");
        if (string.IsNullOrEmpty(config))
            config = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".config");
        return Path.Combine(config, "libvirt", "qemu", "swtpm", machineUuid);
    }

    private static void AddTpm(string folder, List<MachineFile> files, List<string> warnings)
    {
        try
        {
            var found = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
                .Where(file => !Path.GetFileName(file).StartsWith('.'))
                .Select(file => new MachineFile("tpm", Path.GetRelativePath(folder, file), file))
                .ToList();
            files.AddRange(found.Where(file => WhyUnreadable(file.Path) is null));
            if (found.Count == 0 || found.Any(file => WhyUnreadable(file.Path) is not null))
                warnings.Add($"The state of the machine's TPM in '{folder}' is not in the backup, or not all of it.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            warnings.Add($"The state of the machine's TPM is not in the backup: {e.Message}");
        }
    }

    private static string? WhyUnreadable(string path)
    {
        try
        {
            File.OpenHandle(path).Dispose();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }
}
