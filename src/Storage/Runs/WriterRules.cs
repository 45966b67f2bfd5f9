// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// The rules of a writer that a collector relies on, each of which a test may take away to see that data is lost without it.
/// Everything else always has all of them.
/// </summary>
internal sealed record WriterRules
{
    public static WriterRules All { get; } = new();

    /// <summary>The run object, with its pins, is there before anything is looked at (I6).</summary>
    public bool RegisterFirst { get; init; } = true;

    /// <summary>A base that was deleted makes the run void (I6).</summary>
    public bool CheckBases { get; init; } = true;

    /// <summary>The condemned packs are read before the index (I6).</summary>
    public bool CondemnBeforeIndex { get; init; } = true;

    /// <summary>Condemned packs are not reused (I10).</summary>
    public bool CondemnedSpared { get; init; } = true;

    /// <summary>A run that finds its tombstone did not commit (I5).</summary>
    public bool TombstoneHonoured { get; init; } = true;

    /// <summary>What the roster calls gone stays gone (I16).</summary>
    public bool GoneStaysGone { get; init; } = true;
}
