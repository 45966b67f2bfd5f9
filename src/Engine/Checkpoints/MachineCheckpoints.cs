// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>A machine's checkpoint records as a file holds them: ours of all repositories, foreign ones as they were seen.</summary>
public sealed record MachineCheckpoints
{
    /// <summary>The newest version this program reads; members it does not know are ignored.</summary>
    public const int Version = 1;

    public required int V { get; init; }

    /// <summary>The machine's UUID.</summary>
    public required string Machine { get; init; }

    /// <summary>The checkpoint that was made last; null when there is none.</summary>
    public string? Current { get; init; }

    /// <summary>
    /// The machine as it was defined at its last backup, without passwords; null in files of older programs. For a host that lost it too:
    /// whoever defines it again, with its disks in place, has all that a checkpoint needs. No program acts on it.
    /// </summary>
    public string? Definition { get; init; }

    /// <summary>Parents before their children.</summary>
    public required IReadOnlyList<CheckpointRecord> Checkpoints { get; init; }

    /// <summary>
    /// What to write down now: what the hypervisor has a record of, and what it forgot of others as long as a bitmap of that name is left.
    /// </summary>
    /// <param name="machine">The machine, with its bitmaps.</param>
    /// <param name="known">What the hypervisor has a record of.</param>
    /// <param name="own">Our lineage as we know it, with images and sizes.</param>
    /// <param name="earlier">What was written down before.</param>
    /// <param name="current">The checkpoint made last; null for the one written down before.</param>
    /// <param name="definition">The machine's definition; null for the one written down before.</param>
    public static MachineCheckpoints Of(
        Machine machine,
        IReadOnlyList<CheckpointRecord> known,
        IReadOnlyList<CheckpointRecord> own,
        MachineCheckpoints? earlier,
        string? current,
        string? definition)
    {
        var before = earlier?.Checkpoints ?? [];
        var noted = before.Concat(own).GroupBy(record => record.Name, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.Last(), StringComparer.Ordinal);
        var left = machine.Disks.SelectMany(disk => disk.BitmapNames).ToHashSet(StringComparer.Ordinal);
        var mine = own.Select(record => record.Repository).ToHashSet(StringComparer.Ordinal);
        var forgotten = before.Where(record =>
            left.Contains(record.Name) && (record.Repository is null || !mine.Contains(record.Repository)));
        var records = forgotten.Concat(known.Select(record => !noted.TryGetValue(record.Name, out var found) ? record : record with
        {
            Disks = record.Disks.Select(disk => found.Disks.FirstOrDefault(other => other.Name == disk.Name) ?? disk).ToList(),
        }));
        var tree = CheckpointTree.Mend(records);
        current ??= earlier?.Current;
        return new MachineCheckpoints
        {
            V = Version,
            Machine = machine.Uuid,
            Current = current is not null && tree.Find(current) is not null ? current : null,
            Definition = definition ?? earlier?.Definition,
            Checkpoints = tree.Records,
        };
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    RespectNullableAnnotations = true,
    WriteIndented = true)]
[JsonSerializable(typeof(MachineCheckpoints))]
internal sealed partial class CheckpointJson : JsonSerializerContext;
