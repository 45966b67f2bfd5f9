// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Lab;

/// <summary>
/// libvirt asks each QEMU binary for its abilities before the first use, which takes 4 s. It keeps the answer in files that name the
/// binary's time stamps, so a new host may start with those of the last one.
/// </summary>
internal static class CapabilitiesCache
{
    internal static void Load(LabFolders folders, bool isSystem)
    {
        Directory.CreateDirectory(folders.Capabilities);
        foreach (var file in Directory.EnumerateFiles(Folder(isSystem), "*.xml"))
            File.Copy(file, Path.Combine(folders.Capabilities, Path.GetFileName(file)));
    }

    internal static void Save(LabFolders folders, bool isSystem)
    {
        foreach (var file in Directory.EnumerateFiles(folders.Capabilities, "*.xml"))
        {
            var target = Path.Combine(Folder(isSystem), Path.GetFileName(file));
            var temporary = $"{target}.{Path.GetRandomFileName()}";
            File.Copy(file, temporary);
            File.Move(temporary, target, overwrite: true);
        }
    }

    private static string Folder(bool isSystem)
    {
        var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } given
            ? given
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Directory.CreateDirectory(Path.Combine(cache, "tidemark-lab", isSystem ? "system" : "session")).FullName;
    }
}
