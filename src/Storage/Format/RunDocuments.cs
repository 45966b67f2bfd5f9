// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a run announces before it relies on anything (docs/format.md section 8).</summary>
internal sealed record RunDocument
{
    public int V { get; init; } = 1;

    public string Purpose { get; init; } = "";

    public string Machine { get; init; } = "";

    public string Writer { get; init; } = "";

    public string Host { get; init; } = "";

    public DateTimeOffset Time { get; init; }

    public IReadOnlyList<Pin> Pins { get; init; } = [];
}

/// <summary>A tree that a run inherits from or reads.</summary>
internal sealed record Pin(string Root, int Depth);

/// <summary>Packs a collector is about to delete: not to be reused.</summary>
internal sealed record CondemnDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyList<string> Packs { get; init; } = [];
}

/// <summary>The segments that count after a collection, and the names of those folded into them, cumulative.</summary>
internal sealed record CollectedIndexDocument
{
    public int V { get; init; } = 1;

    public IReadOnlyList<string> Segments { get; init; } = [];

    public IReadOnlyList<string> Superseded { get; init; } = [];
}
