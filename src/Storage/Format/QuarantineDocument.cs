// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Why a pack is quarantined (docs/format.md section 8).</summary>
internal sealed record QuarantineDocument
{
    public int V { get; init; } = 1;

    public DateTimeOffset Time { get; init; }

    public string Host { get; init; } = "";

    public string Problem { get; init; } = "";

    /// <summary>The blobs that do not open; null for all of the pack.</summary>
    public IReadOnlyList<string>? Blobs { get; init; }
}
