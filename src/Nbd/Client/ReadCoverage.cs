// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>
/// Which bytes of a READ have come. Chunks may come in any order but never twice, and all must have come at the end:
/// a server that leaves a piece out would otherwise hand the caller what its buffer held before.
/// </summary>
internal struct ReadCoverage
{
    // Chunks almost always come in order, so the front is one number; what came ahead of it waits in the list, sorted.
    private int _front;
    private List<(int Start, int End)>? _ahead;

    public int Covered { get; private set; }

    /// <summary>False when a byte of the piece has come before.</summary>
    public bool TryAdd(int start, int length)
    {
        var end = start + length;
        if (start < _front)
            return false;
        if (start == _front && _ahead is null)
        {
            _front = end;
            Covered += length;
            return true;
        }

        _ahead ??= [];
        var at = _ahead.BinarySearch((start, end), Comparer<(int Start, int End)>.Create((a, b) => a.Start.CompareTo(b.Start)));
        if (at >= 0)
            return false;
        at = ~at;
        if ((at > 0 && _ahead[at - 1].End > start) || (at < _ahead.Count && _ahead[at].Start < end))
            return false;
        _ahead.Insert(at, (start, end));
        Covered += length;
        return true;
    }
}
