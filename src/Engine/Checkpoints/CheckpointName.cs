// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// The name of a checkpoint of ours: <c>tidemark-REPOSITORY-RUN</c>, the first 8 hex digits of the repository's id and all
/// 32 of the run's. Never used twice, at most 64 characters, and within libvirt's alphabet; it also names the bitmaps.
/// </summary>
public readonly record struct CheckpointName(string Repository, Guid Run)
{
    private const string Prefix = "tidemark-";

    public override string ToString() => $"{Prefix}{Repository}-{Run:n}";

    /// <summary>The lineage prefix of a repository: what starts with it is ours, everything else is left alone.</summary>
    public static string RepositoryPart(Guid repositoryId) => repositoryId.ToString("n")[..8];

    public static bool TryParse(string text, [NotNullWhen(true)] out CheckpointName? name)
    {
        name = null;
        var parts = text.Split('-');
        if (parts.Length != 3 || parts[0] + "-" != Prefix || parts[1].Length != 8)
            return false;
        if (!Guid.TryParseExact(parts[2], "n", out var run))
            return false;
        name = new CheckpointName(parts[1], run);
        return name.Value.ToString() == text;
    }
}
