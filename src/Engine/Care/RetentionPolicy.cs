// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Care;

/// <summary>How many restore points of each machine stay; a point that any rule wants stays.</summary>
public sealed record RetentionPolicy
{
    /// <summary>The newest so many.</summary>
    public int Last { get; init; }

    /// <summary>The newest of each of the last so many hours that have one, and so on; hours, days and so on are UTC, weeks begin on
    /// Monday.</summary>
    public int Hourly { get; init; }

    public int Daily { get; init; }

    public int Weekly { get; init; }

    public int Monthly { get; init; }

    public int Yearly { get; init; }

    /// <summary>All that carry one of these tags.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Tags { get; init; } = [];

    /// <summary>All that the store got within this time before its newest point.</summary>
    public TimeSpan? Within { get; init; }

    /// <summary>Without any rule nothing but the newest points would stay: that is no policy.</summary>
    public bool IsEmpty =>
        Last + Hourly + Daily + Weekly + Monthly + Yearly == 0 && Tags.Count == 0 && Within is null;
}

/// <summary>What retention looks at.</summary>
/// <param name="Id">What tells it from all other points.</param>
/// <param name="Machine">The machine's identity.</param>
/// <param name="Writer">The host that wrote it; each host's points are counted by themselves, so that one can't push out another's.</param>
/// <param name="Seq">Order among the machine's points.</param>
/// <param name="Time">When the disks were frozen, by that host's clock.</param>
/// <param name="Stored">When the store got it, by the store's clock.</param>
/// <param name="Tags">Its tags.</param>
/// <param name="IsProtected">Never to be deleted.</param>
public sealed record RetentionPoint(
    string Id, string Machine, string Writer, long Seq, DateTimeOffset Time, DateTimeOffset Stored,
    IReadOnlyDictionary<string, string> Tags, bool IsProtected)
{
    /// <summary>The next backup of a disk starts from it, although a newer point has that disk: the machine was off then.</summary>
    public bool IsBase { get; init; }
}

/// <summary>Whether a point stays, and why; without a reason it goes.</summary>
public sealed record RetentionDecision(RetentionPoint Point, IReadOnlyList<string> Reasons)
{
    public bool Keep => Reasons.Count > 0;
}
