// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Auditing;

/// <summary>
/// The chunks that one audit covers: <paramref name="Length"/> of them from <paramref name="Start"/> on, round the disk's end to its
/// beginning. Each audit begins where the last one ended.
/// </summary>
/// <param name="Start">First chunk.</param>
/// <param name="Length">Chunks, at most <paramref name="Count"/>.</param>
/// <param name="Count">Chunks of the disk.</param>
internal readonly record struct AuditWindow(long Start, long Length, long Count)
{
    public bool IsWhole => Length == Count;

    /// <summary>Where the next audit begins.</summary>
    public long Next => Count == 0 ? 0 : (Start + Length) % Count;

    /// <summary>Chunks [from, to) in the order of the disk: none, one or two ranges.</summary>
    public IReadOnlyList<(long From, long To)> Pieces => Length == 0 ? []
        : IsWhole ? [(0, Count)]
        : Start + Length <= Count ? [(Start, Start + Length)]
        : [(0, Start + Length - Count), (Start, Count)];

    public static AuditWindow Whole(long count) => new(0, count, count);

    /// <param name="start">Where the last one ended, as a restore point says it: anything.</param>
    /// <param name="length">Chunks.</param>
    /// <param name="count">Chunks of the disk.</param>
    public static AuditWindow From(long start, long length, long count) =>
        new(start < 0 || start >= count ? 0 : start, Math.Min(length, count), count);

    public bool Contains(long chunk) =>
        chunk >= Start ? chunk - Start < Length : chunk + Count - Start < Length;

    /// <summary>How many of its chunks are at or after this one, in the order of the disk.</summary>
    public long CountFrom(long chunk) => Pieces.Sum(piece => Math.Max(0, piece.To - Math.Max(piece.From, chunk)));
}
