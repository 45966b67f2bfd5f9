// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Auditing;

/// <summary>How much of a disk an incremental backup reads although its bitmap calls it unchanged.</summary>
public sealed record AuditBudget
{
    private const long DefaultPercent = 2;
    private const long DefaultBytes = 256 << 20;

    private AuditBudget(decimal? percent, long? bytes) => (Percent, Bytes) = (percent, bytes);

    /// <summary>The smaller of 2 % of the disk, and what changed and 256 MiB more.</summary>
    public static AuditBudget Default { get; } = new(null, null);

    public static AuditBudget Off { get; } = new(null, 0);

    /// <summary>Of the disk's size; null when it is said in bytes, or not at all.</summary>
    public decimal? Percent { get; }

    /// <summary>Bytes of each disk.</summary>
    public long? Bytes { get; }

    /// <param name="percent">0 to 100.</param>
    public static AuditBudget OfPercent(decimal percent)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(percent);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(percent, 100);
        return new AuditBudget(percent, null);
    }

    public static AuditBudget OfBytes(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        return new AuditBudget(null, bytes);
    }

    /// <summary>The budget cannot be told without knowing how much changed.</summary>
    internal bool NeedsChanges(long size) => Percent is null && Bytes is null && size / 100 * DefaultPercent > DefaultBytes;

    /// <summary>The budget in whole chunks, rounded up, at most all.</summary>
    internal long ChunksOf(long size, int chunkSize, long changedBytes)
    {
        var bytes = this switch
        {
            { Bytes: { } given } => given,
            { Percent: { } percent } => Share(percent),
            _ => Math.Min(Share(DefaultPercent), (decimal)changedBytes + DefaultBytes),
        };
        return (long)Math.Ceiling(Math.Min(bytes, size) / chunkSize);

        decimal Share(decimal percent) => size * percent / 100;
    }
}
