// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Choices of one collection.</summary>
public sealed record CollectOptions
{
    /// <summary>How long a deleted point can be brought back, by the store's clock.</summary>
    public TimeSpan UndoWindow { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Most of the stored bytes that may be given back at once; more is refused.</summary>
    public double MaxDeletePercent { get; init; } = 20;

    /// <summary>Bytes of live blobs that may be moved to give back the rest of their packs.</summary>
    public long MoveBudget { get; init; } = 16L << 30;

    /// <summary>Only say what would be done; nothing is written.</summary>
    public bool DryRun { get; init; }

    /// <summary>A run without sign of life for this long, by the store's clock, may be revoked.</summary>
    internal TimeSpan Silence { get; init; } = TimeSpan.FromHours(6);

    /// <summary>A tombstone is kept this long: longer than a writer may be asleep and still believe that it committed.</summary>
    internal TimeSpan TombstoneAge { get; init; } = TimeSpan.FromDays(30);

    internal CollectorRules Rules { get; init; } = CollectorRules.All;
}

/// <summary>Where a collection is.</summary>
public enum CollectStage
{
    Look,
    Mark,
    Judge,
    Move,
    Fold,
    Delete,
}

/// <summary>A step of a collection, for people who wait.</summary>
/// <param name="Stage">What is done.</param>
/// <param name="Done">Points, packs or objects so far.</param>
/// <param name="Total">Of so many.</param>
public sealed record CollectProgress(CollectStage Stage, long Done, long Total);

/// <summary>A pack that was or would be deleted: <c>dead</c>, <c>orphan</c> or <c>moved</c> (what lives in it is stored again).</summary>
/// <param name="Key">The object.</param>
/// <param name="Why">The reason.</param>
/// <param name="Bytes">What that gives back.</param>
public sealed record CollectedPack(string Key, string Why, long Bytes);

/// <summary>A run that must end before what was condemned is judged.</summary>
/// <param name="Machine">The machine it backs up, or "?".</param>
/// <param name="Host">Where it runs.</param>
/// <param name="Run">Its id as people see it.</param>
/// <param name="Since">When it began.</param>
/// <param name="LastSeen">Its last sign of life by the store's clock.</param>
public sealed record WaitingRun(string Machine, string Host, string Run, DateTimeOffset Since, DateTimeOffset LastSeen);

/// <summary>What a collection did, or would do.</summary>
public sealed record CollectResult
{
    /// <summary>The last epoch worked on; 0 when there was nothing to do.</summary>
    public int Epoch { get; init; }

    /// <summary>Epochs brought to their end.</summary>
    public int EpochsFinished { get; init; }

    public IReadOnlyList<WaitingRun> WaitingFor { get; init; } = [];

    /// <summary>Packs that were deleted; of a dry run, those that would be.</summary>
    public IReadOnlyList<CollectedPack> Packs { get; init; } = [];

    /// <summary>Bytes of the packs deleted.</summary>
    public long DeletedBytes { get; init; }

    /// <summary>Bytes of the packs that are left.</summary>
    public long KeptBytes { get; init; }

    /// <summary>Bytes of packs written to move what lives in sparse ones.</summary>
    public long MovedBytes { get; init; }

    /// <summary>Deleted points and disks whose undo window was found over.</summary>
    public int Expired { get; init; }

    /// <summary>Runs that were revoked: dead ones of this host, and silent ones.</summary>
    public int Revoked { get; init; }
}
