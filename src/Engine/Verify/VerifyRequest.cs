// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Verify;

/// <summary>What to check.</summary>
public sealed record VerifyRequest
{
    public VerifyLevel Level { get; init; }

    /// <summary>Ids of restore points; empty for everything.</summary>
    public IReadOnlyList<string> Points { get; init; } = [];

    /// <summary>Record what is damaged, so that the next backups heal it.</summary>
    public bool Quarantine { get; init; } = true;

    /// <summary>At levels packs and data: at most about so many bytes, packs longest unchecked first; null for no such limit.</summary>
    public long? BudgetBytes { get; init; }

    /// <summary>The same as a percentage of all packs.</summary>
    public double? BudgetPercent { get; init; }
}
