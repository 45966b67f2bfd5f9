// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a run announces before it relies on anything (docs/format.md section 8).</summary>
internal sealed record RunDocument
{
    public const string Backup = "backup";
    public const string Read = "read";
    public const string Collect = "collect";

    public int V { get; init; } = 1;

    public string Purpose { get; init; } = "";

    public string Machine { get; init; } = "";

    public string Writer { get; init; } = "";

    public string Host { get; init; } = "";

    public DateTimeOffset Time { get; init; }

    public IReadOnlyList<Pin> Pins { get; init; } = [];

    /// <summary>Which process it is; absent in runs of older programs.</summary>
    public ProcessMark? Process { get; init; }
}

/// <summary>A tree that a run inherits from or reads.</summary>
internal sealed record Pin(string Root, int Depth);

/// <summary>A process: boot id, pid namespace, pid, and its start in ticks since boot.</summary>
internal sealed record ProcessMark(string Boot, string Space, int Pid, long Started);
