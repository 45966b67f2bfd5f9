// SPDX-License-Identifier: Apache-2.0
using static Tidemark.Protocol.Tests.ModelState;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// The protocol of docs/format.md section 9 as a function from a state to every state that may follow: the one place that says what a
/// writer, a reader, a collector, retention and a late request do. Nobody is forced to go on, hence everyone may be slow or dead.
/// </summary>
internal sealed partial class ModelProtocol(ModelRules rules, ModelScope scope)
{
    private readonly Symmetry _symmetry = new(scope);
    private List<ModelStep> _steps = [];

    /// <summary>The same for states that differ only in who is who.</summary>
    public ulong Hash(in ModelState state) => _symmetry.Hash(state);

    public ModelState Initial()
    {
        var begin = (byte)(scope.Copies ? 3 : 1);
        var state = new ModelState { Packs = begin, Committed = begin, Segments = begin };
        for (var writer = 0; writer < scope.Writers; writer++)
            state.Writers[writer].Seen = IndexUnread | CondemnedUnread;
        return state;
    }

    public void Successors(in ModelState state, List<ModelStep> steps)
    {
        _steps = steps;
        for (var writer = 0; writer < scope.Writers; writer++)
            WriterMoves(state, writer);
        for (var collector = 0; collector < scope.Collectors; collector++)
            CollectorMoves(state, collector);
        if (scope.Readers)
            ReaderMoves(state);
        OthersMove(state);
    }

    /// <summary>Every point that exists, and what a protected reader reads, is found through a segment that counts in a pack that is
    /// there.</summary>
    public bool IsSafe(in ModelState state)
    {
        var existing = state.Committed & ~state.Expired & ~(rules.RosterHonoured ? state.Gone : 0);
        var isNeeded = existing != 0 || state.ReaderPc == Reading;
        return !isNeeded || (Named(state, NewestIndex(state)) & state.Packs) != 0;
    }

    // The packs that segments name which count, for who believes the index of this epoch (-1: none is there).
    private int Named(in ModelState state, int epoch)
    {
        var folded = epoch < 0 ? 0 : state.Epochs[epoch].Fold;
        return folded | PacksOf(state, Counting(state, epoch));
    }

    // A segment names the pack of its own number, or the one its run adopted.
    private int PacksOf(in ModelState state, int segments)
    {
        var packs = segments;
        for (var writer = 0; scope.Adoption && writer < scope.Writers; writer++)
        {
            var (point, adopted) = (FirstWriter + writer, state.Writers[writer].Chosen & ~OwnSegment);
            if (Has(segments, point) && adopted != 0)
                packs = packs & ~(1 << point) | 1 << (adopted - 1);
        }

        return packs;
    }

    // Segments of the first level that count.
    private int Counting(in ModelState state, int epoch)
    {
        var superseded = Superseded(state, epoch);
        var points = state.Committed & ~(rules.RosterHonoured ? state.Gone : 0);
        return state.Segments & points & ~superseded;
    }

    private int Superseded(in ModelState state, int epoch)
    {
        var superseded = epoch < 0 ? 0 : state.Epochs[epoch].Superseded;
        for (var before = 0; before < epoch && rules.SupersededCumulative; before++)
            superseded |= state.Epochs[before].Superseded;
        return superseded;
    }

    private static int NewestIndex(in ModelState state)
    {
        for (var epoch = 1; epoch >= 0; epoch--)
        {
            if (state.Epochs[epoch].Records.HasFlag(EpochRecords.Index))
                return epoch;
        }

        return -1;
    }

    private void Add(string what, int who, int which, in ModelState next) => _steps.Add(new ModelStep(what, who, which, next));

    // Retention deletes any point at any time, expiry follows at any time, anyone revokes a run at any time; late requests land.
    private void OthersMove(in ModelState state)
    {
        for (var point = 0; point < FirstWriter + scope.Writers; point++)
        {
            var bit = (byte)(1 << point);
            if (Has(state.Committed & ~state.Retired & ~state.Gone, point))
                Add("point {1} is deleted", 0, point, state with { Retired = (byte)(state.Retired | bit) });
            if (Has(state.Retired & ~state.Expired, point))
                Add("point {1} expires", 0, point, state with { Expired = (byte)(state.Expired | bit) });
            if (Has(state.Registered, point) && !state.IsEnded(point) && !Has(state.Removed, point))
                Add("run {1} is revoked", 0, point, state with { Tombstones = (byte)(state.Tombstones | bit) });
            if (scope.Keys)
                LateRequests(state, point, bit);
        }
    }

    private void LateRequests(in ModelState state, int point, byte bit)
    {
        var isWriter = point >= FirstWriter;
        var tried = !isWriter || state.Writers[point - FirstWriter].Pc == WriterStep.Done;
        var hasSegment = !isWriter || (state.Writers[point - FirstWriter].Chosen & OwnSegment) != 0;
        if (tried && Has(state.Removed, point))
            Add("a late request puts point {1} again", 0, point, state with
            {
                Committed = (byte)(state.Committed | bit),
                Removed = (byte)(state.Removed & ~bit),
            });
        if (hasSegment && !Has(state.Segments, point) && (isWriter || scope.Copies || point == 0))
            Add("a late request puts segment {1} again", 0, point, state with { Segments = (byte)(state.Segments | bit) });
    }

    private const byte Chosen = 1; // + point
    private const byte Announced = 8; // + point
    private const byte Reading = 16;
    private const byte Over = 17; // done, refused, or without protection since its heartbeats ended

    private void ReaderMoves(in ModelState state)
    {
        switch (state.ReaderPc)
        {
            case 0:
                for (var point = 0; point < FirstWriter + scope.Writers; point++)
                {
                    if (Has(state.Committed & ~state.Retired & ~state.Gone, point))
                        Add("the reader chooses point {1}", 0, point, state with { ReaderPc = (byte)(Chosen + point) });
                }

                break;
            case < Announced:
                Add("the reader registers", 0, -1, state with { ReaderPc = (byte)(state.ReaderPc - Chosen + Announced) });
                break;
            case < Reading:
                var target = state.ReaderPc - Announced;
                var isThere = Has(state.Committed & ~state.Expired & ~state.Gone, target);
                Add("the reader checks its point", 0, target, state with { ReaderPc = isThere || !rules.ReaderChecks ? Reading : Over });
                break;
            case Reading:
                Add("the reader ends", 0, -1, state with { ReaderPc = Over });
                break;
        }
    }
}
