// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Storage;

/// <summary>
/// A few of the chunks that a run changed, each as likely as any other whatever their number: those whose numbers, mixed with the run's
/// id, come out least. One caller at a time.
/// </summary>
internal sealed class ChangeSample(RunId run)
{
    public const int Most = 8;

    private readonly ulong _salt = BinaryPrimitives.ReadUInt64LittleEndian(run.Value.ToByteArray().AsSpan(8));
    private readonly SortedSet<(ulong Rank, long Chunk)> _least = [];

    /// <summary>Those chosen so far, in no order that matters.</summary>
    public IReadOnlyList<long> Chunks => [.. _least.Select(entry => entry.Chunk)];

    public void Add(long chunk)
    {
        // The finaliser of SplitMix64: every bit of the number moves every bit of the rank.
        var rank = (ulong)chunk + _salt;
        rank = (rank ^ (rank >> 30)) * 0xBF58476D1CE4E5B9;
        rank = (rank ^ (rank >> 27)) * 0x94D049BB133111EB;
        rank ^= rank >> 31;
        if (_least.Count == Most && rank >= _least.Max.Rank)
            return;
        _least.Add((rank, chunk));
        if (_least.Count > Most)
            _least.Remove(_least.Max);
    }
}
