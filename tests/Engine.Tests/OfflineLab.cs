// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Points;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>What tests of stopped machines share.</summary>
internal static class OfflineLab
{
    /// <summary>Writes to an image past the machine, as a tool on the host would.</summary>
    public static Task WriteImageAsync(string path, string format, string command) =>
        Tool.RunAsync("qemu-io", ["-f", format, "-c", command, path], EngineLab.Token);

    /// <summary>The hash of every image file of a machine.</summary>
    public static async Task<IReadOnlyList<string>> HashesAsync(LabMachine machine)
    {
        var hashes = new List<string>();
        foreach (var disk in machine.Disks)
        {
            await using var file = File.OpenRead(machine.ImagePath(disk));
            hashes.Add(Convert.ToHexString(await SHA256.HashDataAsync(file, EngineLab.Token)));
        }

        return hashes;
    }

    /// <summary>Backs up a stopped machine; fails unless the point is exact, the images untouched, and nothing is left.</summary>
    public static async Task<PointInfo> BackUpStoppedAsync(EngineLab lab, LabMachine machine, BackupOptions? options = null)
    {
        var (truth, images) = (await EngineLab.TruthAsync(machine), await HashesAsync(machine));
        var point = await lab.BackUpAsync(machine, options);
        Assert.Equal(images, await HashesAsync(machine));
        AssertNothingLeft(lab);
        await lab.AssertRestoresAsync(point, truth);
        return point;
    }

    /// <summary>Fails when there is a file, a journal entry or a process of a run.</summary>
    public static void AssertNothingLeft(EngineLab lab)
    {
        Assert.Empty(Directory.EnumerateFileSystemEntries(lab.Folders.Scratch));
        Assert.Empty(Directory.EnumerateFiles(lab.Folders.Journal));
        Assert.Empty(Daemons(lab.Folders.Scratch));
    }

    /// <summary>Process ids of the daemons that serve from below a folder.</summary>
    public static IReadOnlyList<int> Daemons(string scratch)
    {
        var found = new List<int>();
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])))
        {
            try
            {
                var words = File.ReadAllText(Path.Combine(process, "cmdline")).Split('\0');
                if (words.Contains("--pidfile") && words.Any(word => word.StartsWith(scratch + "/", StringComparison.Ordinal)))
                    found.Add(int.Parse(Path.GetFileName(process)));
            }
            catch (IOException)
            {
                // It has ended.
            }
        }

        return found;
    }
}
