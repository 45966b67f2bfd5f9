// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Packs a collector is about to delete: not to be reused (docs/format.md section 8, like all records here).</summary>
internal sealed record CondemnDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyList<string> Packs { get; init; } = [];
}

/// <summary>Whether the store creates atomically, as tried before an epoch.</summary>
internal sealed record ProbeDocument
{
    public int V { get; init; } = 1;

    public bool Ok { get; init; }

    public DateTimeOffset Time { get; init; }

    public string Text { get; init; } = "";
}

/// <summary>The runs that must have ended before anything condemned is judged.</summary>
internal sealed record WaitDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyList<string> Runs { get; init; } = [];
}

/// <summary>A pack to delete, and why: <c>dead</c>, <c>orphan</c> or <c>moved</c>.</summary>
internal sealed record DoomedPack(string Pack, string Why);

/// <summary>A committed point as a collector saw it.</summary>
internal sealed record RosterPoint(string Machine, string Run, long Size, string Sha256);

/// <summary>Every point seen, and the rids that never come back (I16).</summary>
internal sealed record RosterDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyList<RosterPoint> Points { get; init; } = [];

    /// <summary>Base64 of 16-byte rids, sorted.</summary>
    public byte[] Gone { get; init; } = [];
}

/// <summary>What an epoch decided; everything after follows from it alone. One that cancels may leave out the rest.</summary>
internal sealed record VerdictDocument
{
    public int V { get; init; } = 1;

    public bool Cancel { get; init; }

    /// <summary>The collect run that decided.</summary>
    public string Run { get; init => field = value ?? ""; } = "";

    public IReadOnlyList<DoomedPack> Delete { get; init => field = value ?? []; } = [];

    /// <summary>The folded segments that count from now on.</summary>
    public IReadOnlyList<string> Segments { get; init => field = value ?? []; } = [];

    /// <summary>Names of segments folded away, of this and earlier epochs.</summary>
    public IReadOnlyList<string> Superseded { get; init => field = value ?? []; } = [];

    /// <summary>Segment objects to delete.</summary>
    public IReadOnlyList<string> Removed { get; init => field = value ?? []; } = [];

    /// <summary>What else goes, in this order.</summary>
    public IReadOnlyList<string> Keys { get; init => field = value ?? []; } = [];

    public RosterDocument Roster { get; init => field = value ?? new(); } = new();
}

/// <summary>The segments that count after a collection, and the names of those folded into them, cumulative.</summary>
internal sealed record CollectedIndexDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyList<string> Segments { get; init; } = [];

    public IReadOnlyList<string> Superseded { get; init; } = [];
}

/// <summary>An epoch is over.</summary>
internal sealed record DoneDocument
{
    public int V { get; init; } = 1;
}

/// <summary>What people said about a point after it was made; the whole state each time.</summary>
internal sealed record LabelDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyDictionary<string, string> Tags { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Tags of the point itself that no longer count.</summary>
    public IReadOnlyList<string> Removed { get; init; } = [];

    public bool Protect { get; init; }

    public DateTimeOffset? Until { get; init; }

    /// <summary>By disk; those of all labels of a point count.</summary>
    public IReadOnlyDictionary<string, DiskDoubt>? Doubts { get; init; }
}
