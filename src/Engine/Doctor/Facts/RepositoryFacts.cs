// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Doctor.Facts;

/// <summary>A repository, as far as it could be opened.</summary>
public sealed record RepositoryFacts
{
    /// <summary>Why it cannot be used, and what to do; null when it opens.</summary>
    public string? Failure { get; init; }

    public string? Hint { get; init; }

    public bool IsEncrypted { get; init; }

    /// <summary>The key opens no guest data.</summary>
    public bool IsMaintenanceKey { get; init; }

    /// <summary>This host's name among the writers, 16 hex digits.</summary>
    public string Writer { get; init; } = "";

    /// <summary>The only writer, if it takes no other.</summary>
    public string? SingleWriter { get; init; }

    public string? UnknownWriteFeature { get; init; }

    public string? UnknownCollectFeature { get; init; }

    /// <summary>Whether this host may write was tried.</summary>
    public bool WasWriteTried { get; init; }

    /// <summary>Why it may not, or cannot; null when it can.</summary>
    public string? WriteFailure { get; init; }

    /// <summary>Bytes free where it lies; null where that is unknown.</summary>
    public long? FreeBytes { get; init; }

    /// <summary>This host's clock when it was looked at.</summary>
    public DateTimeOffset Now { get; init; }

    /// <summary>The store's clock then; null where it cannot be asked.</summary>
    public DateTimeOffset? StoreNow { get; init; }

    public int Points { get; init; }

    /// <summary>The newest point of each machine that was backed up here, by UUID.</summary>
    public IReadOnlyDictionary<string, NewestPoint> Newest { get; init; } = new Dictionary<string, NewestPoint>(StringComparer.Ordinal);

    /// <summary>Points that cannot be read, a sentence each.</summary>
    public IReadOnlyList<string> Damaged { get; init; } = [];
}

/// <summary>A machine's newest point.</summary>
/// <param name="Machine">Its name then.</param>
/// <param name="Host">The host that wrote it.</param>
/// <param name="Time">Its instant, by that host's clock.</param>
/// <param name="Stored">When the store got it, by the store's clock.</param>
public sealed record NewestPoint(string Machine, string Host, DateTimeOffset Time, DateTimeOffset Stored);
