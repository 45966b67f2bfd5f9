// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>How much a verification looks at (docs/format.md section 12); each level includes quick.</summary>
public enum VerifyLevel
{
    /// <summary>Points open, their segments are unchanged, the packs are there with their sizes.</summary>
    Quick,

    /// <summary>Also the SHA-256 of every pack.</summary>
    Packs,

    /// <summary>Also every chunk and node that a point reaches is opened and matches its id.</summary>
    Data,
}

/// <summary>Something that is not what was written, and the restore points that need it.</summary>
/// <param name="Key">The damaged object.</param>
/// <param name="Problem">What was expected and found, one sentence.</param>
/// <param name="Affected">Points that can't be restored whole; empty when only speed or space is lost.</param>
public sealed record DamagedObject(string Key, string Problem, IReadOnlyList<RestorePoint> Affected);

/// <summary>What to verify and how.</summary>
public sealed record VerifyOptions
{
    public VerifyLevel Level { get; init; }

    /// <summary>What these points need is looked at (packs are hashed all the same: points share them); null for all.</summary>
    public IReadOnlySet<RunId>? Only { get; init; }

    /// <summary>Record damaged packs under bad/, so that the next backups heal them.</summary>
    public bool Quarantine { get; init; }

    /// <summary>At levels packs and data: how much to read, packs longest unchecked first; null for everything.</summary>
    public VerifyBudget? Budget { get; init; }
}

/// <summary>An object that the store would not read: nothing is known of it.</summary>
public sealed record UnreadObject(string Key, string Problem);

/// <summary>What a verification found.</summary>
public sealed record VerifyResult
{
    public required IReadOnlyList<DamagedObject> Damaged { get; init; }

    public int Points { get; init; }

    /// <summary>Of them, those whose disks were not read, as the key does not open their key domains.</summary>
    public int OtherDomains { get; init; }

    public int Segments { get; init; }

    public int Packs { get; init; }

    /// <summary>Chunks and nodes opened.</summary>
    public long Blobs { get; init; }

    /// <summary>Bytes of packs or chunks read.</summary>
    public long Bytes { get; init; }

    /// <summary>Quarantined packs that hurt nothing any more: what was damaged in them has a good copy elsewhere.</summary>
    public IReadOnlyList<string> Healed { get; init; } = [];

    /// <summary>Packs quarantined by this verification.</summary>
    public IReadOnlyList<string> Quarantined { get; init; } = [];

    /// <summary>When the pack longest unchecked was last found sound, or written; null without packs.</summary>
    public DateTimeOffset? OldestCheck { get; init; }

    /// <summary>Packs whose bytes were checked.</summary>
    public int CheckedPacks { get; init; }

    /// <summary>Packs that could not be read because the store failed on them.</summary>
    public IReadOnlyList<UnreadObject> Unread { get; init; } = [];

    public bool IsSound => Damaged.Count == 0 && Unread.Count == 0;
}
