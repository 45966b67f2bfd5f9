// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>The protocol's rules, each of which a control takes out (docs/concurrency.md).</summary>
internal sealed record ModelRules
{
    /// <summary>Re-marking counts the pins of runs.</summary>
    public bool PinsProtect { get; init; } = true;

    /// <summary>Also those of runs that have ended since.</summary>
    public bool EndedPinsProtect { get; init; } = true;

    /// <summary>A run is taken for dead only by its tombstone.</summary>
    public bool RevokedByTombstone { get; init; } = true;

    /// <summary>Re-marking waits for the runs begun before.</summary>
    public bool WaitForEarlierRuns { get; init; } = true;

    /// <summary>The runs to wait for are listed after the condemned packs are published.</summary>
    public bool CondemnBeforeListingRuns { get; init; } = true;

    /// <summary>A writer registers before it reads what is condemned.</summary>
    public bool RegisterFirst { get; init; } = true;

    /// <summary>A writer reads what is condemned before it reads the index.</summary>
    public bool CondemnBeforeIndex { get; init; } = true;

    /// <summary>A reused pack is there.</summary>
    public bool PresenceChecked { get; init; } = true;

    /// <summary>A writer checks, once registered, that its base was not deleted.</summary>
    public bool BasesChecked { get; init; } = true;

    /// <summary>Re-marking lists points first, then runs.</summary>
    public bool PointsBeforeRuns { get; init; } = true;

    /// <summary>Of all collectors' verdicts one counts.</summary>
    public bool SingleVerdict { get; init; } = true;

    /// <summary>When all copies are condemned, one stays.</summary>
    public bool KeepOneCopy { get; init; } = true;

    /// <summary>A copy that replaces another is named by a segment that counts, and its pack is there.</summary>
    public bool CopyIsUsable { get; init; } = true;

    /// <summary>A deleted point's blobs live until its expire record exists.</summary>
    public bool ExpireDecides { get; init; } = true;

    /// <summary>For a writer too, a segment of the first level counts only with its committed point.</summary>
    public bool SegmentNeedsPoint { get; init; } = true;

    /// <summary>A point's key goes only after its segments were folded.</summary>
    public bool KeysAfterFold { get; init; } = true;

    /// <summary>What the roster calls gone does not exist, whatever appears at its key.</summary>
    public bool RosterHonoured { get; init; } = true;

    /// <summary>Names of superseded segments are kept for ever.</summary>
    public bool SupersededCumulative { get; init; } = true;

    /// <summary>Packs of a run that has not ended are not condemned.</summary>
    public bool LiveRunsSpared { get; init; } = true;

    /// <summary>A reader checks, once registered, that its point has not expired.</summary>
    public bool ReaderChecks { get; init; } = true;

    /// <summary>An undo pins before it checks that its point has not expired.</summary>
    public bool UndoPinsFirst { get; init; } = true;

    /// <summary>Who adopts a pack names it in a segment of its own.</summary>
    public bool AdoptedIsNamed { get; init; } = true;

    /// <summary>Packs are deleted only after the index without them is published.</summary>
    public bool IndexBeforeDelete { get; init; } = true;

    /// <summary>Superseded segments are deleted before the packs.</summary>
    public bool SegmentsBeforePacks { get; init; } = true;
}

/// <summary>How much of everything there is.</summary>
/// <param name="Writers">Backup runs, 1 to 3.</param>
/// <param name="Readers">Whether a reader comes.</param>
/// <param name="Collectors">1 or 2; a collector that dies is one that never moves again, and the other resumes.</param>
/// <param name="Epochs">1 or 2.</param>
/// <param name="Copies">Whether two points begin with a copy each.</param>
/// <param name="Repack">Whether a collector may copy the blob into a pack of its own.</param>
/// <param name="Undo">Whether runs may bring back deleted points.</param>
/// <param name="Keys">Whether keys of gone points and tombstones are removed, and late requests put them again.</param>
/// <param name="Adoption">Whether a run may use packs that no segment names, of failed runs and of running ones.</param>
/// <param name="Pages">Whether listings of points and runs go one by one, with everything else in between.</param>
internal sealed record ModelScope(
    int Writers, bool Readers, int Collectors, int Epochs, bool Copies = false, bool Repack = false, bool Undo = false, bool Keys = false,
    bool Pages = false, bool Adoption = false);
