// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;

namespace Tidemark.Engine.Care;

/// <summary>What <c>forget</c> did; the shapes here are part of the command-line contract.</summary>
public sealed record ForgetResult(IReadOnlyList<string> Forgotten, IReadOnlyList<string> Disks, PointInfo? BroughtBack);

/// <summary>A point that stays, and why, or that goes.</summary>
public sealed record PrunedPoint(string Id, string Machine, DateTimeOffset Time, bool Keep, IReadOnlyList<string> Reasons);

/// <summary>What <c>prune</c> did, or would do.</summary>
public sealed record PruneResult(bool DryRun, IReadOnlyList<PrunedPoint> Points)
{
    public IReadOnlyList<string> Retired => Points.Where(point => !point.Keep).Select(point => point.Id).ToList();
}

/// <summary>A run that must end before space comes back.</summary>
public sealed record WaitingForRun(string Machine, string Host, string Run, DateTimeOffset Since, DateTimeOffset LastSeen);

/// <summary>A pack that went, or would go: <c>dead</c>, <c>orphan</c> or <c>moved</c>.</summary>
public sealed record DeletedPack(string Key, string Why, long Bytes);

/// <summary>What <c>gc</c> did, or would do. Sizes are bytes.</summary>
public sealed record CollectInfo(
    bool DryRun, int Epoch, long DeletedBytes, long KeptBytes, long MovedBytes, int Expired, int Revoked,
    IReadOnlyList<WaitingForRun> WaitingFor, IReadOnlyList<DeletedPack> Packs);

/// <summary>What the user asks of <c>gc</c>.</summary>
/// <param name="DryRun">Change nothing.</param>
/// <param name="MaxDeletePercent">Most of the stored bytes that may go; null for the default.</param>
/// <param name="UndoWindow">How long deleted points can be brought back; null for the default.</param>
public sealed record CollectWish(bool DryRun, double? MaxDeletePercent, TimeSpan? UndoWindow);

/// <summary>A step of a collection.</summary>
public sealed record CareProgress(string Stage, long Done, long Total);

/// <summary>Protection and tags of a point after a change.</summary>
public sealed record LabelInfo(string Id, IReadOnlyDictionary<string, string> Tags, bool Protected, DateTimeOffset? Until);

/// <summary>Points counted together by <c>stats</c>; a machine, or one point.</summary>
public sealed record StatsGroup(string Name, IReadOnlyList<string> Points);

/// <summary>What a group takes: its disks' sizes, and the stored bytes that deleting it would give back.</summary>
public sealed record GroupStats(string Name, int Points, long LogicalBytes, long UniqueBytes);

/// <summary>What <c>stats</c> found, in bytes. Dedup is what the points hold / each chunk once; compression is that / as it is
/// stored.</summary>
public sealed record StatsInfo(
    int Points, long LogicalBytes, long ReferencedBytes, long DataBytes, long LiveBytes, long DeletedBytes, long StoredBytes,
    double Dedup, double Compression, IReadOnlyList<GroupStats> Groups);
