// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>What a backup would do: pure data, made by <see cref="BackupPlanner"/>.</summary>
/// <param name="Disks">The disks in the run.</param>
/// <param name="NotProtected">Disks left out, each with the reason.</param>
public sealed record BackupPlan(IReadOnlyList<DiskPlan> Disks, IReadOnlyList<UnprotectedDisk> NotProtected)
{
    /// <summary>The new checkpoint covers at least one disk.</summary>
    public bool Tracks => Disks.Any(disk => disk.Track);
}

/// <summary>What would happen to one disk.</summary>
public sealed record DiskPlan
{
    public required MachineDisk Disk { get; init; }

    /// <summary>Checkpoint whose changes are read; null when the disk is read in full.</summary>
    public required string? Base { get; init; }

    /// <summary>Newest committed state of this disk, to inherit from and to compare with; null for a first backup.</summary>
    public required PreviousDisk? Previous { get; init; }

    /// <summary>Why it is incremental, or why it is not, in plain words.</summary>
    public required string Reason { get; init; }

    /// <summary>The new checkpoint covers it.</summary>
    public required bool Track { get; init; }

    /// <summary>Full although a backup of this disk exists and nobody asked for it.</summary>
    public required bool FellBack { get; init; }

    /// <summary>Log2 of the chunk size.</summary>
    public required int ChunkLog2 { get; init; }

    public bool IsIncremental => Base is not null;
}

/// <summary>A disk in the newest committed restore point that has it.</summary>
public sealed record PreviousDisk
{
    /// <summary>The run that made the point.</summary>
    public required Guid Run { get; init; }

    public required DateTimeOffset Time { get; init; }

    /// <summary>The checkpoint made at that instant; null when the disk was not tracked.</summary>
    public required string? Checkpoint { get; init; }

    /// <summary>Why there is none, where that is known.</summary>
    public string? WhyUntracked { get; init; }

    public required ImageIdentity? Identity { get; init; }

    public DataFile? DataFile { get; init; }

    /// <summary>The images below the topmost one, the nearest first; null where one could not be told.</summary>
    public IReadOnlyList<ImageIdentity?> Backing { get; init; } = [];

    public required long Size { get; init; }

    public required int ChunkLog2 { get; init; }

    /// <summary>It was read in full.</summary>
    public bool WasFull { get; init; }

    /// <summary>The point's place among the machine's points.</summary>
    public long Seq { get; init; }

    internal DiskAudit? Audit { get; init; }

    internal IReadOnlyList<SuspectPoint>? Suspects { get; init; }

    /// <summary>It may lack changes, as a run found whose point is gone; null for all that is known to be right.</summary>
    internal DiskDoubt? Doubt { get; init; }

    /// <summary>The key domain of the point.</summary>
    public string Domain { get; init; } = "";
}

/// <summary>What the user chose.</summary>
public sealed record BackupOptions
{
    public const int DefaultChunkLog2 = 18;

    /// <summary>Only these disks; empty means all.</summary>
    public IReadOnlyList<string> Disks { get; init; } = [];

    public IReadOnlyList<string> Exclude { get; init; } = [];

    /// <summary>Read everything, whatever the checkpoints say.</summary>
    public bool Full { get; init; }

    /// <summary>The key domain to store in; null for the one of the key.</summary>
    public string? Domain { get; init; }

    public Quiesce Quiesce { get; init; } = Quiesce.Auto;

    /// <summary>How much is read although bitmaps call it unchanged.</summary>
    public AuditBudget Audit { get; init; } = AuditBudget.Default;

    public IReadOnlyDictionary<string, string> Tags { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Log2 of the chunk size for disks new to the repository, and for all when given explicitly; null keeps what is.</summary>
    public int? ChunkLog2 { get; init; }

    /// <summary>Decode and compare every compressed chunk before it is stored, not one in sixteen.</summary>
    public bool CheckAllChunks { get; init; }

    /// <summary>Shell commands run on this host before the freeze; a failing one ends the run.</summary>
    public IReadOnlyList<string> BeforeFreeze { get; init; } = [];

    /// <summary>Shell commands run on this host after the thaw; they run whatever happened once the first ones ran.</summary>
    public IReadOnlyList<string> AfterThaw { get; init; } = [];
}
