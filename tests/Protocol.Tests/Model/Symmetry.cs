// SPDX-License-Identifier: Apache-2.0
using static Tidemark.Protocol.Tests.ModelState;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// Two writers are alike, and so are two collectors: states that differ only in who is who are one. Used for the hash alone, so that
/// traces stay those of somebody. Not with page by page listings, whose cursors tell them apart.
/// </summary>
internal sealed class Symmetry(ModelScope scope)
{
    public ulong Hash(in ModelState state)
    {
        if (scope.Pages)
            return ModelState.Hash(state);
        var least = CollectorsHash(state);
        if (scope.Writers < 2)
            return least;
        var other = SwapWriters(state, 0, 1);
        least = Math.Min(least, CollectorsHash(other));
        if (scope.Writers < 3)
            return least;
        foreach (var variant in (ReadOnlySpan<ModelState>)[state, other])
        {
            var second = SwapWriters(variant, 1, 2);
            least = Math.Min(least, Math.Min(CollectorsHash(second), CollectorsHash(SwapWriters(second, 0, 1))));
        }

        return least;
    }

    private ulong CollectorsHash(in ModelState state)
    {
        var hash = ModelState.Hash(state);
        if (scope.Collectors < 2)
            return hash;
        var other = scope.Repack ? SwapBits(state, FirstRepack, FirstRepack + 1, points: false) : state;
        (other.Collectors[0], other.Collectors[1]) = (other.Collectors[1], other.Collectors[0]);
        return Math.Min(hash, ModelState.Hash(other));
    }

    private static ModelState SwapWriters(in ModelState state, int first, int second)
    {
        var (left, right) = (FirstWriter + first, FirstWriter + second);
        var other = SwapBits(state, left, right, points: true);
        (other.Writers[first], other.Writers[second]) = (other.Writers[second], other.Writers[first]);
        for (var writer = 0; writer < 3; writer++)
            other.Writers[writer].Base = Renumber(other.Writers[writer].Base, left + 1, right + 1);
        if (other.ReaderPc is > 0 and < 8)
            other.ReaderPc = Renumber(other.ReaderPc, left + 1, right + 1);
        else if (other.ReaderPc is >= 8 and < 16)
            other.ReaderPc = Renumber(other.ReaderPc, left + 8, right + 8);
        return other;
    }

    private static ModelState SwapBits(ModelState state, int left, int right, bool points)
    {
        state.Packs = Swap(state.Packs, left, right);
        if (points)
        {
            state.Committed = Swap(state.Committed, left, right);
            state.Tombstones = Swap(state.Tombstones, left, right);
            state.Removed = Swap(state.Removed, left, right);
            state.Retired = Swap(state.Retired, left, right);
            state.Expired = Swap(state.Expired, left, right);
            state.Segments = Swap(state.Segments, left, right);
            state.Gone = Swap(state.Gone, left, right);
            state.Registered = Swap(state.Registered, left, right);
        }

        for (var writer = 0; writer < 3; writer++)
        {
            ref var one = ref state.Writers[writer];
            one.Excluded = Swap(one.Excluded, left, right);
            one.Chosen = (byte)(one.Chosen & OwnSegment | Renumber((byte)(one.Chosen & ~OwnSegment), left + 1, right + 1));
        }

        for (var two = 0; two < 2; two++)
        {
            SwapBits(ref state.Epochs[two], left, right, points);
            SwapBits(ref state.Collectors[two], left, right, points);
        }

        return state;
    }

    private static void SwapBits(ref Epoch epoch, int left, int right, bool points)
    {
        epoch.Condemned = Swap(epoch.Condemned, left, right);
        epoch.Delete = Swap(epoch.Delete, left, right);
        epoch.Fold = Swap(epoch.Fold, left, right);
        if (!points)
            return;
        epoch.Wait = Swap(epoch.Wait, left, right);
        epoch.Superseded = Swap(epoch.Superseded, left, right);
        epoch.Gone = Swap(epoch.Gone, left, right);
        epoch.Over = Swap(epoch.Over, left, right);
    }

    private static void SwapBits(ref Collector collector, int left, int right, bool points)
    {
        collector.Delete = Swap(collector.Delete, left, right);
        collector.Fold = Swap(collector.Fold, left, right);
        if (!points)
            return;
        collector.Wait = Swap(collector.Wait, left, right);
        collector.Live = Swap(collector.Live, left, right);
        collector.Dead = Swap(collector.Dead, left, right);
        collector.Superseded = Swap(collector.Superseded, left, right);
    }

    private static byte Swap(byte set, int left, int right)
    {
        var differ = (set >> left ^ set >> right) & 1;
        return (byte)(set ^ (differ << left | differ << right));
    }

    private static byte Renumber(byte value, int left, int right) =>
        value == left ? (byte)right : value == right ? (byte)left : value;
}
