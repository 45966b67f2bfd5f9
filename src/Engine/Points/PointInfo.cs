// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Tidemark.Engine.Points;

/// <summary>A restore point as users and scripts see it; the shape is part of the command-line contract.</summary>
public sealed record PointInfo
{
    /// <summary>The id shown to people: 12 hex digits.</summary>
    public required string Id { get; init; }

    public required string Machine { get; init; }

    public required string MachineUuid { get; init; }

    /// <summary>The host it was backed up on.</summary>
    public required string Host { get; init; }

    public required DateTimeOffset Time { get; init; }

    /// <summary>Position among the machine's points: each is one above its parent.</summary>
    public required long Seq { get; init; }

    /// <summary><c>filesystem</c>, <c>crash</c> or <c>offline</c>.</summary>
    public required string Consistency { get; init; }

    public required IReadOnlyDictionary<string, string> Tags { get; init; }

    /// <summary>It can't be deleted now.</summary>
    public bool Protected { get; init; }

    /// <summary>When its protection ends; null for never, or without protection.</summary>
    public DateTimeOffset? ProtectedUntil { get; init; }

    public required IReadOnlyList<DiskInfo> Disks { get; init; }

    public required IReadOnlyList<NotProtectedInfo> NotProtected { get; init; }

    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>The key domain it belongs to; null for none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public string? Domain { get; init; }

    /// <summary>The id of the repository it was copied from; null for one that a backup made.</summary>
    public required string? CopiedFrom { get; init; }
}

/// <summary>A disk of a restore point. Sizes are bytes.</summary>
public sealed record DiskInfo
{
    public required string Name { get; init; }

    public required long Size { get; init; }

    /// <summary><c>full</c> or <c>incremental</c>: how it was read. Every restore point is a full one.</summary>
    public required string Mode { get; init; }

    public required string Reason { get; init; }

    /// <summary>Bytes the hypervisor named as changed; the disk's size for a full read.</summary>
    public required long ChangedBytes { get; init; }

    public required long ReadBytes { get; init; }

    public required long StoredBytes { get; init; }

    /// <summary>The root of the disk's hash tree, hex.</summary>
    public required string Root { get; init; }

    public required int ChunkSize { get; init; }

    public required string Format { get; init; }

    public required string? Checkpoint { get; init; }

    /// <summary>Bytes read besides, although the bitmap called them unchanged.</summary>
    public long AuditedBytes { get; init; }

    /// <summary>Since then every byte was compared with the disk at least once and was right; null: not all of it yet.</summary>
    public DateTimeOffset? CoveredSince { get; init; }

    /// <summary>Id of the restore point made then.</summary>
    public string? CoveredSincePoint { get; init; }

    /// <summary>The disk may lack changes, as was found later; null for all that is known to be right.</summary>
    public DoubtInfo? Doubt { get; init; }
}

/// <summary>A disk may lack changes.</summary>
/// <param name="Since">Those made after this time; null: at any time.</param>
/// <param name="Found">When that was found out.</param>
public sealed record DoubtInfo(DateTimeOffset? Since, DateTimeOffset Found);

/// <summary>A disk that is not part of a point, and why.</summary>
public sealed record NotProtectedInfo(string Name, string Reason);

/// <summary>The restore points of a repository, and a sentence for each that is damaged.</summary>
public sealed record PointList(IReadOnlyList<PointInfo> Points, IReadOnlyList<string> Damaged)
{
    /// <summary>A sentence for each that the store failed to read, which says nothing of it.</summary>
    public IReadOnlyList<string> Unread { get; init; } = [];
}
