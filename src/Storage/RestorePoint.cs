// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Tidemark.Storage;

/// <summary>
/// One machine at one instant, every disk whole, as the object points/&lt;vmid&gt;/&lt;rid&gt; holds it (docs/format.md section 8).
/// Members this program does not know are ignored. One may leave out what is null here, and nothing else.
/// </summary>
public sealed record RestorePoint
{
    internal const int CurrentVersion = 1;

    public int V { get; init; } = CurrentVersion;

    /// <summary>The run that made it: its identity.</summary>
    [JsonInclude]
    internal string Run { get; init; } = "";

    [JsonInclude]
    internal string Machine { get; init; } = "";

    /// <summary>The machine's name then.</summary>
    public string Name { get; init; } = "";

    public string Uuid { get; init; } = "";

    public string Host { get; init; } = "";

    public string Writer { get; init; } = "";

    /// <summary>When the disks were frozen, by the host's clock: for people only.</summary>
    public DateTimeOffset Time { get; init; }

    /// <summary>When it was made, among the machine's points.</summary>
    public long Seq { get; init; }

    /// <summary>Of a point that was brought back: the order of the deleted one; null for others.</summary>
    public long? Place { get; init; }

    /// <summary>Whose state of the machine comes after whose: the newest has the greatest.</summary>
    [JsonIgnore]
    public long Order => Place ?? Seq;

    /// <summary>SHA-256 of the sealed bytes of the machine's newest point when the run began.</summary>
    public string? Prev { get; init; }

    /// <summary>The key domain its chunks belong to; empty for the one without a name.</summary>
    public string Domain { get; init; } = "";

    /// <summary>Where the point was copied from; null for one that a backup made here. A copied point is never a base (I22).</summary>
    public CopiedFrom? Copied { get; init; }

    /// <summary>What was done for consistency, in the engine's words.</summary>
    public string Consistency { get; init; } = "";

    public IReadOnlyList<string> Tags { get; init; } = [];

    public string? DomainXml { get; init; }

    public IReadOnlyList<PointDisk> Disks { get; init; } = [];

    public IReadOnlyList<PointFile> Files { get; init; } = [];

    public IReadOnlyList<NotProtected> NotProtected { get; init; } = [];

    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>What is to be told to a hypervisor that forgot this repository's checkpoints; null where nobody noted it.</summary>
    public PointCheckpoints? Checkpoints { get; init; }

    public IReadOnlyList<SegmentReference> Index { get; init; } = [];

    /// <summary>Bytes this run added to the store, its point not counted.</summary>
    public long NewBytes { get; init; }

    /// <summary>When the store got it, by the store's clock; set where points are listed.</summary>
    [JsonIgnore]
    public DateTimeOffset Stored { get; init; }

    /// <summary>What was said about it since; its tags are in <see cref="Tags"/> already. Set where points are listed.</summary>
    [JsonIgnore]
    public PointLabel Label { get; init; } = PointLabel.None;

    [JsonIgnore]
    public RunId Id => RunId.Parse(Run);

    [JsonIgnore]
    public MachineId MachineId => new(Machine);

    /// <summary>The trees of its disks, then of its files.</summary>
    internal IEnumerable<TreeRef> Trees => Disks.Select(disk => disk.Tree).Concat(Files.Select(file => file.Tree));

    /// <summary>This point with its domain told to its disks and files.</summary>
    internal RestorePoint Placed() => Domain.Length == 0 ? this : this with
    {
        Disks = [.. Disks.Select(disk => disk with { Domain = Domain })],
        Files = [.. Files.Select(file => file with { Domain = Domain })],
    };

    /// <summary>What people type: 12 hex digits.</summary>
    [JsonIgnore]
    public string ShortId => Id.ShortId;

    /// <exception cref="KeyNotFoundException">No disk of that name.</exception>
    public PointDisk Disk(string name) =>
        Disks.FirstOrDefault(disk => disk.Name == name)
        ?? throw new KeyNotFoundException(
            $"Restore point '{ShortId}' has no disk '{name}'; it has {string.Join(", ", Disks.Select(disk => $"'{disk.Name}'"))}.");
}

/// <summary>A disk of a restore point.</summary>
public sealed record PointDisk
{
    /// <summary>The target ("vda").</summary>
    public string Name { get; init; } = "";

    /// <summary>Bytes.</summary>
    public long Size { get; init; }

    public int ChunkLog2 { get; init; }

    public int Depth { get; init; }

    /// <summary>Root id as 64 hex digits; all zero for a disk of zero bytes.</summary>
    public string Root { get; init; } = "";

    [JsonInclude]
    internal RootHint? Hint { get; init; }

    /// <summary>"full" or "incremental", and why.</summary>
    public string Mode { get; init; } = "";

    public string? Reason { get; init; }

    /// <summary>The run whose point this disk inherits from.</summary>
    public string? Base { get; init; }

    /// <summary>The checkpoint whose bitmap starts at this point.</summary>
    public string? Checkpoint { get; init; }

    public long ChangedBytes { get; init; }

    public long ReadBytes { get; init; }

    public long StoredBytes { get; init; }

    public string? Serial { get; init; }

    public string? Kind { get; init; }

    /// <summary>The image's format and its settings.</summary>
    public IReadOnlyDictionary<string, string>? Format { get; init; }

    /// <summary>What makes the image this one: path, device and inode, birth time, size.</summary>
    public IReadOnlyDictionary<string, string>? Identity { get; init; }

    /// <summary>What is known of the whole disk by reading it; null in points of older programs.</summary>
    public DiskAudit? Audit { get; init; }

    /// <summary>Earlier points of this machine in which this disk may lack changes; every later point repeats them.</summary>
    public IReadOnlyList<SuspectPoint>? Suspects { get; init; }

    /// <summary>Everything of the kind that was ever found out about this disk, from earlier points too.</summary>
    public IReadOnlyList<MissedChanges>? Missed { get; init; }

    /// <summary>This disk may lack changes, as was known when the point was copied or brought back, or as its label says; and what
    /// other points say of it, once points are marked.</summary>
    public DiskDoubt? Doubt { get; init; }

    /// <summary>The key domain of its point.</summary>
    [JsonIgnore]
    public string Domain { get; init; } = "";

    /// <summary>The same of the images below, the nearest first; empty where it cannot be told, null when there are none.</summary>
    public IReadOnlyList<IReadOnlyDictionary<string, string>>? Backing { get; init; }

    /// <summary>The disk's tree, for reading and inheriting.</summary>
    [JsonIgnore]
    public TreeRef Tree => TreeRef.Of(Size, ChunkLog2, Depth, Root, Hint);
}

/// <summary>How far a disk's chunks were compared with the disk itself, whatever its bitmap said (docs/format.md section 8).</summary>
public sealed record DiskAudit
{
    /// <summary>Order of the point that this was written with; a point that is brought back keeps it.</summary>
    public long Seq { get; init; }

    /// <summary>Bytes read for it in this run.</summary>
    public long Bytes { get; init; }

    /// <summary>Chunk at which the next audit begins.</summary>
    public long Next { get; init; }

    /// <summary>In order and without gap from chunk 0 to the disk's end: which run last compared these chunks.</summary>
    public IReadOnlyList<AuditedSpan> Covered { get; init; } = [];

    /// <summary>A few chunks that changed lately, by which the next run recognises the image.</summary>
    public IReadOnlyList<long> Witnesses { get; init; } = [];
}

/// <summary>Chunks up to <paramref name="To"/> were last compared by this run; seq 0 and no run: never.</summary>
public sealed record AuditedSpan(long To, long Seq, string? Run, DateTimeOffset? Time);

/// <summary>A point (by its run, and the instant that its copies share) in which a disk may lack changes.</summary>
/// <param name="Run">Its run, 32 hex digits.</param>
/// <param name="Time">Its instant.</param>
/// <param name="Since">Instant of the last point that is known to lack none; null when there is none.</param>
/// <param name="Found">Instant of the point whose run found it out.</param>
public sealed record SuspectPoint(string Run, DateTimeOffset Time, DateTimeOffset? Since, DateTimeOffset Found);

/// <summary>
/// Changes of a disk were missed: all that any point holds of it whose audit's seq (its own, where it has none) lies between, both
/// excluded, may lack them.
/// </summary>
/// <param name="After">Order of the last point that is known to lack none; 0 when there is none.</param>
/// <param name="Before">Order of the point whose run found it out.</param>
/// <param name="Since">Instant of the former; null when there is none.</param>
/// <param name="Found">Instant of the latter.</param>
public sealed record MissedChanges(long After, long Before, DateTimeOffset? Since, DateTimeOffset Found);

/// <summary>
/// A disk may lack changes made after <paramref name="Since"/> (null: at any time), as was found at <paramref name="Found"/>.
/// </summary>
public sealed record DiskDoubt(DateTimeOffset? Since, DateTimeOffset Found)
{
    /// <summary>The one of two that doubts more; of two that doubt the same the older one.</summary>
    public static DiskDoubt? Worse(DiskDoubt? one, DiskDoubt? other)
    {
        if (one is null || other is null)
            return one ?? other;
        var (left, right) = (one.Since ?? DateTimeOffset.MinValue, other.Since ?? DateTimeOffset.MinValue);
        return left < right || (left == right && one.Found <= other.Found) ? one : other;
    }
}

/// <summary>A small file kept with a restore point: NVRAM, TPM state, kernel, initrd.</summary>
public sealed record PointFile
{
    public string Name { get; init; } = "";

    public long Size { get; init; }

    public int ChunkLog2 { get; init; }

    public int Depth { get; init; }

    public string Root { get; init; } = "";

    [JsonInclude]
    internal RootHint? Hint { get; init; }

    /// <summary>The key domain of its point.</summary>
    [JsonIgnore]
    public string Domain { get; init; } = "";

    [JsonIgnore]
    public TreeRef Tree => TreeRef.Of(Size, ChunkLog2, Depth, Root, Hint);
}

/// <summary>The checkpoints that this repository had on the machine once the point was made.</summary>
/// <param name="Current">The one made with the point; null when no disk could be tracked.</param>
/// <param name="Records">Parents before their children.</param>
public sealed record PointCheckpoints(string? Current, IReadOnlyList<PointCheckpoint> Records);

/// <summary>A checkpoint, in whole seconds, and the disks that got a bitmap of its name.</summary>
public sealed record PointCheckpoint(string Name, DateTimeOffset Created, string? Parent, IReadOnlyList<PointCheckpointDisk> Disks);

/// <summary>A tracked disk: its target, and the image and size (bytes) it had then, where they were noted.</summary>
public sealed record PointCheckpointDisk(string Name, long? Size, IReadOnlyDictionary<string, string>? Identity);

/// <summary>The repository (its id, 32 hex) and run of the point that a copied one was made from.</summary>
public sealed record CopiedFrom(string Repository, string Run);

/// <summary>A disk that the point does not hold, and why.</summary>
public sealed record NotProtected(string Name, string Reason);

/// <summary>A segment the run wrote, and the SHA-256 of its bytes.</summary>
public sealed record SegmentReference(string Key, string Sha256);

/// <summary>Where a root node lies; advice.</summary>
internal sealed record RootHint(string Pack, uint Off, uint Len);
