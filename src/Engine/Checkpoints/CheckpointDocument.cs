// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Serialization;
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Checkpoints;

/// <summary>All records of a machine's checkpoints, as one JSON document that another host can take (docs/cli.md).</summary>
public sealed record CheckpointDocument
{
    public const string FormatName = "tidemark-checkpoints";
    public const int CurrentVersion = 1;

    /// <summary>Some 300 bytes a checkpoint and disk: room for tens of thousands.</summary>
    public const int LargestFile = 64 << 20;

    /// <summary>libvirt lists no more of a machine in one message.</summary>
    public const int MostCheckpoints = 16_384;

    /// <summary>Longer names leave dregs in libvirt when it cannot save its record.</summary>
    private const int LongestName = 200;

    public string Format { get; init; } = "";

    public int V { get; init; }

    public string Machine { get; init; } = "";

    public string MachineUuid { get; init; } = "";

    public string Host { get; init; } = "";

    /// <summary>The machine's definition, without passwords; null in a compact document. An import does not look at it.</summary>
    public string? Definition { get; init; }

    /// <summary>Parents before their children.</summary>
    public IReadOnlyList<CheckpointRecord> Checkpoints { get; init; } = [];

    /// <summary>The records of a machine; which image a bitmap is in is noted where the bitmap is there and whole.</summary>
    public static CheckpointDocument Of(BitmapFacts facts) => new()
    {
        Format = FormatName,
        V = CurrentVersion,
        Machine = facts.Machine.Name,
        MachineUuid = facts.Machine.Uuid,
        Host = facts.Machine.Host,
        Checkpoints = CheckpointTree.Mend(facts.Checkpoints).Records.Select(record => record with
        {
            Disks = record.Disks.Select(disk => Locate(facts, record.Name, disk)).ToList(),
        }).ToList(),
    };

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, CheckpointDocumentJson.Default.CheckpointDocument);

    /// <summary>Reads a document and checks all that can be checked of it alone.</summary>
    /// <exception cref="EngineException">It is no such document, of a later version, or its records make no tree.</exception>
    public static CheckpointDocument Parse(ReadOnlySpan<byte> content, string source)
    {
        CheckpointDocument? document;
        try
        {
            document = JsonSerializer.Deserialize(content, CheckpointDocumentJson.Default.CheckpointDocument);
        }
        catch (JsonException e)
        {
            throw EngineException.Usage($"'{source}' is no document of checkpoints: {e.Message}");
        }

        if (document?.Format != FormatName)
            throw EngineException.Usage($"'{source}' is no document of checkpoints; one of format '{FormatName}' is required.");
        if (document.Checkpoints is null)
            throw EngineException.Usage($"'{source}' holds no list of checkpoints.");
        if (document.V != CurrentVersion)
            throw EngineException.Usage($"'{source}' has version {document.V}; this program knows version {CurrentVersion}.");
        if (document.Checkpoints.Count > MostCheckpoints)
            throw EngineException.Usage($"'{source}' holds {document.Checkpoints.Count} checkpoints; at most {MostCheckpoints} are taken.");
        foreach (var record in document.Checkpoints)
            Check(record, source);
        return document;
    }

    private static void Check(CheckpointRecord record, string source)
    {
        if (record is not { Name: not null, Disks: not null } || record.Disks.Any(disk => disk?.Name is null))
            throw EngineException.Usage($"'{source}' holds a checkpoint without a name or disks.");
        if (!IsName(record.Name) || (record.Parent is { } parent && !IsName(parent)))
        {
            throw EngineException.Usage(
                $"'{source}' names a checkpoint '{record.Name}' with the parent '{record.Parent}'; a name is 1 to {LongestName} of "
                + "A-Z, a-z, 0-9, '_', '-' and '.', not starting with '.'.");
        }

        if (record.Disks.Count == 0)
            throw EngineException.Usage($"Checkpoint '{record.Name}' in '{source}' covers no disk.");
    }

    private static bool IsName(string name) =>
        name.Length is > 0 and <= LongestName && name[0] != '.'
        && name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '_' or '-' or '.');

    private static TrackedDisk Locate(BitmapFacts facts, string checkpoint, TrackedDisk disk) =>
        facts.Machine.Disks.FirstOrDefault(candidate => candidate.Name == disk.Name) is { } found
        && found.Bitmaps.GetValueOrDefault(checkpoint, Machines.BitmapHealth.Broken) == Machines.BitmapHealth.Recording
            ? disk with { Identity = found.Identity, Size = found.Size }
            : disk;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(CheckpointDocument))]
internal sealed partial class CheckpointDocumentJson : JsonSerializerContext;
