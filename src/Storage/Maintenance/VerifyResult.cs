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

/// <summary>What a verification found.</summary>
public sealed record VerifyResult
{
    public required IReadOnlyList<DamagedObject> Damaged { get; init; }

    public int Points { get; init; }

    public int Segments { get; init; }

    public int Packs { get; init; }

    /// <summary>Chunks and nodes opened.</summary>
    public long Blobs { get; init; }

    /// <summary>Bytes of packs or chunks read.</summary>
    public long Bytes { get; init; }

    public bool IsSound => Damaged.Count == 0;
}
