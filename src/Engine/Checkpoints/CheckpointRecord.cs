// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// What is written down of a checkpoint: by the hypervisor, and by us so that it can be told again to a hypervisor that forgot it.
/// The bitmaps themselves live in the images, under the checkpoint's name.
/// </summary>
public sealed record CheckpointRecord
{
    public required string Name { get; init; }

    /// <summary>Whole seconds: for people, and for an order among siblings.</summary>
    public required DateTimeOffset Created { get; init; }

    /// <summary>Name of the parent; null for a root.</summary>
    public string? Parent { get; init; }

    /// <summary>The disks that have a bitmap for it.</summary>
    public required IReadOnlyList<TrackedDisk> Disks { get; init; }

    /// <summary>The repository whose lineage it belongs to, as 8 hex digits; null for a foreign one.</summary>
    [JsonIgnore]
    public string? Repository => CheckpointName.TryParse(Name, out var name) ? name.Value.Repository : null;
}

/// <summary>A disk as it was when a checkpoint was made.</summary>
/// <param name="Name">Its target, such as <c>vda</c>.</param>
/// <param name="Identity">The image that got the bitmap; null where nobody noted it.</param>
/// <param name="Size">Virtual size in bytes; null where nobody noted it.</param>
public sealed record TrackedDisk(string Name, ImageIdentity? Identity = null, long? Size = null);
