// SPDX-License-Identifier: Apache-2.0
using static Tidemark.Protocol.Tests.ModelState;

namespace Tidemark.Protocol.Tests;

internal sealed partial class ModelProtocol
{
    private void WriterMoves(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        var point = FirstWriter + number;
        var bit = (byte)(1 << point);
        switch (writer.Pc)
        {
            case WriterStep.Start:
                ChooseBase(state, number);
                break;
            case WriterStep.Registering:
                Register(state, number);
                break;
            case WriterStep.Checking:
                CheckBase(state, number);
                break;
            case WriterStep.Listing:
                ReadCollector(state, number);
                break;
            case WriterStep.Looking:
                LookUp(state, number);
                break;
            case WriterStep.Reusing:
                Reuse(state, number);
                break;
            case WriterStep.StoringPack:
                Add("writer {0} stores pack {1}", number, point, With(state, number, writer with { Pc = WriterStep.StoringSegment }) with
                {
                    Packs = (byte)(state.Packs | bit),
                });
                break;
            case WriterStep.StoringSegment:
                var stored = writer with { Pc = WriterStep.Committing, Chosen = (byte)(OwnSegment | writer.Chosen) };
                Add("writer {0} stores segment {1}", number, point, With(state, number, stored) with
                {
                    Segments = (byte)(state.Segments | bit),
                });
                break;
            case WriterStep.Committing:
                Commit(state, number, bit);
                break;
        }
    }

    private static ModelState With(ModelState state, int number, Writer writer)
    {
        state.Writers[number] = writer;
        return state;
    }

    private void ChooseBase(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        var next = writer with { Pc = WriterStep.Registering };
        var isOneStep = rules.RegisterFirst && rules.BasesChecked;
        if (isOneStep)
            Register(With(state, number, next), number);
        else
            Add("writer {0} begins without a base", number, -1, With(state, number, next));
        for (var point = 0; point < FirstWriter + scope.Writers; point++)
        {
            if (Has(state.Committed & ~state.Retired & ~state.Gone, point))
            {
                var based = With(state, number, next with { Base = (byte)(point + 1) });
                if (isOneStep)
                    Register(based, number);
                else
                    Add("writer {0} begins from point {1}", number, point, based);
            }

            if (scope.Undo && Has(state.Committed & state.Retired & ~state.Expired & ~state.Gone, point))
                Add("writer {0} begins to bring back point {1}", number, point, With(state, number, next with
                {
                    Base = (byte)(point + 1),
                    IsUndo = true,
                    Pc = rules.UndoPinsFirst ? WriterStep.Registering : WriterStep.Checking,
                }));
        }
    }

    // Choosing a base and registering are one step: what happens between them happens as well between registering and checking.
    private void Register(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        var isChecked = writer.IsUndo && !rules.UndoPinsFirst;
        var after = writer.Base == 0 ? WriterStep.Listing : isChecked ? WriterStep.Committing : WriterStep.Checking;
        Add("writer {0} registers with base {1}", number, writer.Base - 1, With(state, number, writer with { Pc = after }) with
        {
            Registered = (byte)(state.Registered | 1 << (FirstWriter + number)),
        });
        if (!rules.RegisterFirst && writer.Base == 0 && (writer.Seen & CondemnedUnread) != 0)
            Add("writer {0} reads what is condemned: {s}", number, Condemned(state), With(state, number, Informed(state, writer)));
    }

    private void CheckBase(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        var isThere = Has(state.Committed & ~(writer.IsUndo ? state.Expired : state.Retired) & ~state.Gone, writer.Base - 1);
        var isRegistered = Has(state.Registered, FirstWriter + number);
        var after = isRegistered ? WriterStep.Committing : WriterStep.Registering;
        if (isThere || !rules.BasesChecked)
            Add("writer {0} finds point {1}", number, writer.Base - 1, With(state, number, writer with { Pc = after }));
        else
            Add("writer {0} finds point {1} deleted and gives up", number, writer.Base - 1, With(state, number, GivenUp(writer)));
    }

    // One listing of gc/ sees records in any order; what was there before it began it sees.
    private void ReadCollector(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        if ((writer.Seen & CondemnedUnread) != 0)
            Add("writer {0} reads what is condemned: {s}", number, Condemned(state), With(state, number, Informed(state, writer)));
        if ((writer.Seen & IndexUnread) == 0)
            return;
        var newest = NewestIndex(state);
        var read = writer with { Seen = (byte)((writer.Seen & CondemnedUnread) | (newest + 1)) };
        var isLast = (writer.Seen & CondemnedUnread) == 0 || !rules.CondemnBeforeIndex;
        read.Pc = isLast ? WriterStep.Looking : WriterStep.Listing;
        Add("writer {0} reads the collected index of epoch {1}", number, newest, With(state, number, read));
    }

    private static int Condemned(in ModelState state)
    {
        var condemned = 0;
        for (var epoch = 0; epoch < 2; epoch++)
        {
            if ((state.Epochs[epoch].Records & (EpochRecords.Condemn | EpochRecords.Done)) == EpochRecords.Condemn)
                condemned |= state.Epochs[epoch].Condemned;
        }

        return condemned;
    }

    private static Writer Informed(in ModelState state, Writer writer)
    {
        var informed = writer with { Excluded = (byte)Condemned(state), Seen = (byte)(writer.Seen & ~CondemnedUnread) };
        if (writer.Pc == WriterStep.Listing && (writer.Seen & IndexUnread) == 0)
            informed.Pc = WriterStep.Looking;
        return informed;
    }

    private void LookUp(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        var epoch = (writer.Seen & 3) - 1;
        var trusted = rules.SegmentNeedsPoint ? 0 : PacksOf(state, state.Segments & ~Superseded(state, epoch));
        var usable = (Named(state, epoch) | trusted) & ~writer.Excluded;
        for (var pack = 0; pack < 8; pack++)
        {
            if (Has(usable, pack))
                Add("writer {0} finds the blob in pack {1}", number, pack, With(state, number, writer with
                {
                    Pc = WriterStep.Reusing,
                    Chosen = (byte)(pack + 1),
                }));
        }

        // Of failed runs and of running ones; a run that uses one names it in its own segment.
        var left = scope.Adoption ? state.Packs & ~(1 << (FirstWriter + number)) & ~writer.Excluded & ~usable : 0;
        for (var pack = FirstWriter; pack < FirstRepack; pack++)
        {
            if (Has(left, pack))
                Add("writer {0} finds the blob in pack {1}, which nobody names", number, pack, With(state, number, writer with
                {
                    Pc = rules.AdoptedIsNamed ? WriterStep.StoringSegment : WriterStep.Committing,
                    Chosen = (byte)(rules.AdoptedIsNamed ? pack + 1 : 0),
                    Excluded = 0,
                    Seen = 0,
                }));
        }

        Add("writer {0} does not find the blob", number, -1, With(state, number, Storing(writer)));
    }

    private void Reuse(in ModelState state, int number)
    {
        var writer = state.Writers[number];
        if ((writer.Seen & CondemnedUnread) != 0)
        {
            var informed = Informed(state, writer);
            var isExcluded = Has(informed.Excluded, writer.Chosen - 1);
            Add("writer {0} reads what is condemned: {s}", number, Condemned(state), With(
                state, number, isExcluded ? Storing(informed) : informed));
            return;
        }

        if (!rules.PresenceChecked || Has(state.Packs, writer.Chosen - 1))
            Add("writer {0} reuses pack {1}", number, writer.Chosen - 1, With(state, number, writer with
            {
                Pc = WriterStep.Committing,
                Chosen = 0,
                Excluded = 0,
                Seen = 0,
            }));
        else
            Add("writer {0} does not find pack {1}", number, writer.Chosen - 1, With(state, number, Storing(writer)));
    }

    private static Writer Storing(Writer writer) => writer with { Pc = WriterStep.StoringPack, Chosen = 0, Excluded = 0, Seen = 0 };

    private static Writer GivenUp(Writer writer) => writer with { Pc = WriterStep.GaveUp, Excluded = 0, Seen = 0, Chosen = 0 };

    private void Commit(in ModelState state, int number, byte bit)
    {
        var writer = state.Writers[number] with { Pc = WriterStep.Done, Excluded = 0, Seen = 0 };
        var point = FirstWriter + number;
        if (Has(state.Tombstones | state.Committed, point))
            Add("writer {0} finds that it is revoked", number, point, With(state, number, writer));
        else
            Add("writer {0} commits point {1}", number, point, With(state, number, writer) with
            {
                Committed = (byte)(state.Committed | bit),
                Removed = (byte)(state.Removed & ~bit),
            });
    }
}
