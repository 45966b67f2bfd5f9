// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>Which part of a machine's checkpoints to list.</summary>
/// <param name="Limit">At most so many; null for all.</param>
/// <param name="After">Only those behind this one; null from the first on.</param>
public sealed record CheckpointPage(int? Limit, string? After);

/// <summary>A machine's checkpoints as users see them, parents first, without its definition.</summary>
/// <param name="Machine">Its name.</param>
/// <param name="MachineUuid">Its UUID.</param>
/// <param name="Checkpoints">Those of the page that was asked for.</param>
/// <param name="Next">The one to go on after; null when these are the last.</param>
/// <param name="WithoutRecord">Bitmaps that the hypervisor has no record of; with the first page only.</param>
/// <param name="Unseen">What could not be looked at.</param>
public sealed record CheckpointListing(
    string Machine,
    string MachineUuid,
    IReadOnlyList<ListedCheckpoint> Checkpoints,
    string? Next,
    IReadOnlyList<ListedBitmap> WithoutRecord,
    IReadOnlyList<string> Unseen)
{
    /// <exception cref="EngineException">The page begins after a checkpoint that does not exist.</exception>
    public static CheckpointListing Make(BitmapFacts facts, CheckpointPage page, string? repositoryPart)
    {
        var records = CheckpointTree.Mend(facts.Checkpoints).Records;
        var start = 0;
        if (page.After is { } after)
        {
            start = 1 + records.ToList().FindIndex(record => record.Name == after);
            if (start == 0)
                throw EngineException.Usage($"Machine '{facts.Machine.Name}' has no checkpoint '{after}'.");
        }

        var chosen = records.Skip(start).Take(page.Limit ?? int.MaxValue).ToList();
        var isLast = start + chosen.Count >= records.Count;
        return new CheckpointListing(
            facts.Machine.Name,
            facts.Machine.Uuid,
            chosen.Select(record => Describe(facts, record, repositoryPart)).ToList(),
            isLast || chosen.Count == 0 ? null : chosen[^1].Name,
            page.After is null ? FindWithoutRecord(facts, repositoryPart) : [],
            facts.Unseen);
    }

    private static ListedCheckpoint Describe(BitmapFacts facts, CheckpointRecord record, string? repositoryPart) => new(
        record.Name,
        record.Parent,
        record.Created,
        LineageOf(record.Name, repositoryPart),
        record.Disks.Select(disk => new ListedDisk(
            disk.Name,
            HealthOf(facts.Machine, disk.Name, record.Name),
            facts.ChangedBytes.TryGetValue((disk.Name, record.Name), out var bytes) ? bytes : null)).ToList());

    private static string LineageOf(string name, string? repositoryPart)
    {
        if (!CheckpointName.TryParse(name, out var ours))
            return "foreign";
        return ours.Value.Repository == repositoryPart ? "this repository" : $"repository {ours.Value.Repository}";
    }

    private static string HealthOf(Machine machine, string disk, string checkpoint)
    {
        if (machine.Disks.FirstOrDefault(candidate => candidate.Name == disk) is not { } found)
            return "no such disk";
        return found.Bitmaps.TryGetValue(checkpoint, out var health)
            ? health switch
            {
                BitmapHealth.Recording => "recording",
                BitmapHealth.Busy => "busy",
                _ => "inconsistent",
            }
            : "missing";
    }

    private static List<ListedBitmap> FindWithoutRecord(BitmapFacts facts, string? repositoryPart)
    {
        var known = facts.Checkpoints.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        return facts.Machine.Disks.SelectMany(disk => disk.Bitmaps.Keys.Select(name => (Name: name, Disk: disk.Name)))
            .Where(bitmap => !known.Contains(bitmap.Name))
            .GroupBy(bitmap => bitmap.Name, StringComparer.Ordinal)
            .OrderBy(bitmap => bitmap.Key, StringComparer.Ordinal)
            .Select(bitmap => new ListedBitmap(
                bitmap.Key, LineageOf(bitmap.Key, repositoryPart), bitmap.Select(found => found.Disk).ToList()))
            .ToList();
    }
}

/// <summary>A checkpoint in a listing.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parent">Null for a root.</param>
/// <param name="Created">Whole seconds.</param>
/// <param name="Lineage"><c>this repository</c>, <c>repository</c> and its 8 hex digits for another one of ours, or <c>foreign</c>.</param>
/// <param name="Disks">The disks that have a bitmap for it.</param>
public sealed record ListedCheckpoint(string Name, string? Parent, DateTimeOffset Created, string Lineage, IReadOnlyList<ListedDisk> Disks);

/// <summary>A disk of a checkpoint.</summary>
/// <param name="Name">Its target.</param>
/// <param name="Health"><c>recording</c>, <c>busy</c>, <c>inconsistent</c>, <c>missing</c>, or <c>no such disk</c>.</param>
/// <param name="ChangedBytes">Written since; null where nobody knows.</param>
public sealed record ListedDisk(string Name, string Health, long? ChangedBytes);

/// <summary>A bitmap without a record.</summary>
public sealed record ListedBitmap(string Name, string Lineage, IReadOnlyList<string> Disks);
