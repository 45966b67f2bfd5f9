// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Choices of one run.</summary>
public sealed record BackupRunOptions
{
    /// <summary>The run's id, when it was made before to name a checkpoint after it.</summary>
    public RunId? Id { get; init; }

    /// <summary>Points whose disks may be inherited from; their roots are pinned.</summary>
    public IReadOnlyList<RestorePoint> Bases { get; init; } = [];

    /// <summary>The key domain to write in, that of the bases; null for the key's own.</summary>
    public string? Domain { get; init; }

    /// <summary>Tasks that hash, compress and seal; by default one per core.</summary>
    public int Workers { get; init; } = Environment.ProcessorCount;

    /// <summary>zstd level; 1 is the fastest that pays.</summary>
    public int CompressionLevel { get; init; } = 1;

    /// <summary>Decode and compare every compressed chunk before it is stored, not one in sixteen.</summary>
    public bool CheckAll { get; init; }

    /// <summary>The bases may be retired, as long as they have not expired: for bringing a point back.</summary>
    internal bool AllowRetiredBases { get; init; }

    /// <summary>Bytes of chunks stored until what other runs have stored meanwhile is looked at, and from one look to the next.</summary>
    internal long LookAfter { get; init; } = 2 * StorageLimits.SharedPackTarget;

    /// <summary>Bytes at which a pack of chunks is closed.</summary>
    internal long PackTarget { get; init; } = StorageLimits.PackTarget;

    internal WriterRules Rules { get; init; } = WriterRules.All;
}
