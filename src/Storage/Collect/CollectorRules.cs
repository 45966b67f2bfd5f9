// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// The rules that make collecting beside writers safe, each of which a test may take away to see that data is lost without it.
/// Everything else always has all of them.
/// </summary>
internal sealed record CollectorRules
{
    public static CollectorRules All { get; } = new();

    /// <summary>What runs inherit from or read counts as live, though no point reaches it.</summary>
    public bool PinsProtect { get; init; } = true;

    /// <summary>Runs that were under way when the packs were condemned must have ended before the mark that decides.</summary>
    public bool WaitForEarlierRuns { get; init; } = true;

    /// <summary>The packs are condemned before the runs to wait for are listed, not after.</summary>
    public bool CondemnBeforeListingRuns { get; init; } = true;

    /// <summary>An epoch's verdict is the first one put; a collector follows it though it decided otherwise.</summary>
    public bool SingleVerdict { get; init; } = true;

    /// <summary>What was chosen is marked anew after the wait.</summary>
    public bool MarkAgain { get; init; } = true;

    /// <summary>The mark that decides lists points before runs.</summary>
    public bool PointsBeforeRuns { get; init; } = true;

    /// <summary>Of copies that are all condemned one stays.</summary>
    public bool KeepOneCopy { get; init; } = true;

    /// <summary>The index without the packs is there before they go (I15).</summary>
    public bool IndexBeforeDelete { get; init; } = true;

    /// <summary>Superseded segments are deleted before the packs (I15).</summary>
    public bool SegmentsBeforePacks { get; init; } = true;

    /// <summary>A point of the last roster that is missing or different without a retire record stops the collection (I18).</summary>
    public bool RosterChecked { get; init; } = true;

    /// <summary>What the roster calls gone stays gone (I16).</summary>
    public bool GoneStaysGone { get; init; } = true;

    /// <summary>Another writer's copy is decoded before it replaces one (I19).</summary>
    public bool ForeignCopiesChecked { get; init; } = true;

    /// <summary>Packs that no segment names are left alone while their run may still commit.</summary>
    public bool PackOfLiveRunSpared { get; init; } = true;

    /// <summary>A deleted point stays live until its expire record exists, which only comes after the window (I17).</summary>
    public bool ExpireAfterWindow { get; init; } = true;

    /// <summary>A pack's bytes are hashed before its blobs are moved.</summary>
    public bool HashBeforeMove { get; init; } = true;
}
