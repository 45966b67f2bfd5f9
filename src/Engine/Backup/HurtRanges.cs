// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.Engine.Backup;

/// <summary>Brings what changed and what the repository has lost into one order.</summary>
internal static class HurtRanges
{
    /// <summary>Both, by their start; ranges of one may overlap those of the other.</summary>
    public static async IAsyncEnumerable<ByteRange> MergeAsync(
        IAsyncEnumerable<ByteRange> changed, IReadOnlyList<ByteRange> hurt, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var next = 0;
        await foreach (var range in changed.WithCancellation(cancellationToken))
        {
            for (; next < hurt.Count && hurt[next].Offset <= range.Offset; next++)
                yield return hurt[next];
            yield return range;
        }

        for (; next < hurt.Count; next++)
            yield return hurt[next];
    }
}
