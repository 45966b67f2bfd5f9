// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What the engine says about the point a run is to commit; the run adds identity, order, trees and index.</summary>
public sealed record RestorePointDraft
{
    /// <summary>The machine's name.</summary>
    public required string Name { get; init; }

    public string Uuid { get; init; } = "";

    public string Host { get; init; } = "";

    /// <summary>When the disks were frozen.</summary>
    public required DateTimeOffset Time { get; init; }

    public string Consistency { get; init; } = "";

    public IReadOnlyList<string> Tags { get; init; } = [];

    public string? DomainXml { get; init; }

    public required IReadOnlyList<DraftDisk> Disks { get; init; }

    public IReadOnlyList<FileResult> Files { get; init; } = [];

    public IReadOnlyList<NotProtected> NotProtected { get; init; } = [];

    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Of a backup; a point made from another one has none, since it begins no lineage (I22).</summary>
    public PointCheckpoints? Checkpoints { get; init; }

    /// <summary>Of a copied point: where from.</summary>
    internal CopiedFrom? Copied { get; init; }

    /// <summary>Of a copied point: its order among the machine's points, as it was.</summary>
    internal long? Seq { get; init; }

    /// <summary>Of a point that was brought back, or a copy of one: see <see cref="RestorePoint.Place"/>.</summary>
    internal long? Place { get; init; }

    /// <summary>The same again as another point, with these trees; its place in the order is a new one.</summary>
    internal static RestorePointDraft Of(RestorePoint point, IReadOnlyList<DraftDisk> disks, IReadOnlyList<FileResult> files) => new()
    {
        Name = point.Name,
        Uuid = point.Uuid,
        Host = point.Host,
        Time = point.Time,
        Consistency = point.Consistency,
        Tags = point.Tags,
        DomainXml = point.DomainXml,
        Disks = disks,
        Files = files,
        NotProtected = point.NotProtected,
        Warnings = point.Warnings,
    };
}

/// <summary>A disk to commit: its tree, and what else is known of it (name, size, tree and counts are taken from the result).</summary>
public sealed record DraftDisk(DiskResult Result, PointDisk Details);

/// <summary>An attachment that was stored or inherited.</summary>
public sealed record FileResult
{
    internal FileResult(string name, DiskResult? written, TreeRef? inherited) => (Name, Written, Inherited) = (name, written, inherited);

    public string Name { get; }

    internal DiskResult? Written { get; }

    internal TreeRef? Inherited { get; }

    internal TreeRef Reference => Inherited ?? Written!.Reference;
}
