// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Native;
using Tidemark.Engine.Points;
using Tidemark.Engine.Restore.Definitions;
using Tidemark.Engine.Restore.Targets;
using Tidemark.Nbd;

namespace Tidemark.Engine.Restore;

/// <summary>A disk of the point, and the target it goes to.</summary>
internal sealed record DiskTarget(DiskInfo Disk, RestoreTarget Target, RestoredDisk? InDefinition) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Target.DisposeAsync();
}

/// <summary>Turns the user's words for targets into targets.</summary>
internal static class TargetChoice
{
    /// <exception cref="EngineException">A disk is not in the point, or a target is missing or makes no sense.</exception>
    public static IReadOnlyList<DiskTarget> Choose(PointInfo point, RestoreOptions options)
    {
        var choices = options.Disks.Count > 0
            ? options.Disks
            : point.Disks.Select(disk => new RestoreDiskChoice(disk.Name, null)).ToList();
        if (choices.Count == 0)
            throw EngineException.Failed($"Restore point '{point.Id}' holds no disks.");
        if (choices.GroupBy(choice => choice.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw EngineException.Usage($"Disk '{twice.Key}' is named more than once.");
        return choices.Select(choice => Choose(point, choice, options)).ToList();
    }

    private static DiskTarget Choose(PointInfo point, RestoreDiskChoice choice, RestoreOptions options)
    {
        var disk = point.Disks.FirstOrDefault(disk => disk.Name == choice.Name) ?? throw EngineException.Usage(
            $"Restore point '{point.Id}' has no disk '{choice.Name}'; it has {string.Join(", ", point.Disks.Select(disk => disk.Name))}.",
            $"tidemark show {point.Id}");
        if (choice.Target is { } text && IsNbd(text))
            return new DiskTarget(disk, NbdExport(text), null);
        if (choice.Target is { } named && FileCalls.IsBlockDevice(named))
        {
            var device = Path.GetFullPath(named);
            return new DiskTarget(disk, new BlockDeviceTarget(device), new RestoredDisk(device, IsBlock: true, "raw"));
        }

        var path = choice.Target is { } file ? Path.GetFullPath(file) : InFolder(point, disk, options);
        RestoreTarget target = options.Format == "raw" ? new RawFileTarget(path) : new Qcow2FileTarget(path);
        return new DiskTarget(disk, target, new RestoredDisk(path, IsBlock: false, options.Format));
    }

    private static string InFolder(PointInfo point, DiskInfo disk, RestoreOptions options)
    {
        var folder = options.Folder ?? throw EngineException.Usage(
            $"There is no target for disk '{disk.Name}'.", "give --to FOLDER, or --disk NAME=TARGET");
        var ending = options.Format == "raw" ? "img" : "qcow2";
        return Path.Combine(folder, $"{FileNames.Safe(options.Name ?? point.Machine)}-{FileNames.Safe(disk.Name)}.{ending}");
    }

    private static bool IsNbd(string text) =>
        text.StartsWith("nbd", StringComparison.Ordinal) && text.Contains("://", StringComparison.Ordinal);

    private static NbdTarget NbdExport(string text)
    {
        try
        {
            return new NbdTarget(NbdUri.Parse(text), text);
        }
        catch (FormatException e)
        {
            throw EngineException.Usage(e.Message);
        }
    }
}
