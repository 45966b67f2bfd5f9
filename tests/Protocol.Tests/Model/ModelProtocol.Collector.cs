// SPDX-License-Identifier: Apache-2.0
using static Tidemark.Protocol.Tests.ModelState;

namespace Tidemark.Protocol.Tests;

internal sealed partial class ModelProtocol
{
    private void CollectorMoves(in ModelState state, int number)
    {
        var collector = state.Collectors[number];
        var record = state.Epochs[collector.Epoch];
        switch (collector.Pc)
        {
            case CollectorStep.Idle:
                BeginOrResume(state, number);
                break;
            case CollectorStep.Condemning:
                Condemn(state, number);
                break;
            case CollectorStep.ListingRuns:
                ListRuns(state, number);
                break;
            case CollectorStep.Waiting:
                Wait(state, number, record);
                break;
            case CollectorStep.MarkingPoints:
                MarkPoint(state, number);
                break;
            case CollectorStep.MarkingExpired:
                MarkExpired(state, number);
                break;
            case CollectorStep.MarkingPins:
                MarkPin(state, number, record);
                break;
            case CollectorStep.Judging:
                Judge(state, number, record);
                break;
            default:
                CarryOut(state, number, record);
                break;
        }
    }

    private static ModelState With(ModelState state, int number, Collector collector)
    {
        state.Collectors[number] = collector;
        return state;
    }

    private static ModelState With(ModelState state, int epoch, Epoch record)
    {
        state.Epochs[epoch] = record;
        return state;
    }

    // An epoch begins only when the one before is done; else that one is resumed where its records end.
    private void BeginOrResume(in ModelState state, int number)
    {
        for (byte epoch = 0; epoch < scope.Epochs; epoch++)
        {
            var records = state.Epochs[epoch].Records;
            if (records.HasFlag(EpochRecords.Done))
                continue;
            var first = rules.CondemnBeforeListingRuns ? CollectorStep.Condemning : CollectorStep.ListingRuns;
            var step = records.HasFlag(EpochRecords.Verdict) ? CollectorStep.Publishing
                : records.HasFlag(EpochRecords.Wait) ? CollectorStep.Waiting
                : records.HasFlag(EpochRecords.Condemn) ? CollectorStep.ListingRuns
                : first;
            CollectorMoves(With(state, number, new Collector { Pc = step, Epoch = epoch }), number);
            return;
        }
    }

    // The first mark is advice: any choice of packs whose runs have ended may come of it.
    private void Condemn(in ModelState state, int number)
    {
        var collector = state.Collectors[number];
        var record = state.Epochs[collector.Epoch];
        var isListed = !rules.CondemnBeforeListingRuns;
        var next = collector with { Pc = isListed ? CollectorStep.Waiting : CollectorStep.ListingRuns, Cursor = 0, Wait = 0 };
        if (record.Records.HasFlag(EpochRecords.Condemn))
        {
            if (isListed && !record.Records.HasFlag(EpochRecords.Wait))
                return;
            Add("collector {0} follows what is condemned: {s}", number, record.Condemned, With(state, number, next));
            return;
        }

        var eligible = Eligible(state, collector.Epoch);
        byte over = 0;
        for (var point = FirstWriter; point < FirstWriter + scope.Writers; point++)
            over |= (byte)(state.IsEnded(point) ? 1 << point : 0);
        for (var chosen = eligible; ; chosen = (chosen - 1) & eligible)
        {
            var condemned = record with { Condemned = (byte)chosen, Over = over, Records = record.Records | EpochRecords.Condemn };
            if (isListed)
                condemned = condemned with { Wait = collector.Wait, Records = condemned.Records | EpochRecords.Wait };
            Add("collector {0} condemns {s}", number, chosen, With(With(state, number, next), collector.Epoch, condemned));
            if (chosen == 0)
                break;
        }
    }

    private int Eligible(in ModelState state, int epoch)
    {
        var eligible = state.Packs & 3;
        for (var point = FirstWriter; point < FirstWriter + scope.Writers; point++)
            eligible |= !rules.LiveRunsSpared || state.IsEnded(point) ? state.Packs & (1 << point) : 0;
        return epoch == 0 ? eligible : eligible | (state.Packs & ~((1 << FirstRepack) - 1));
    }

    private void ListRuns(in ModelState state, int number)
    {
        var collector = state.Collectors[number];
        var record = state.Epochs[collector.Epoch];
        while (collector.Cursor < scope.Writers)
        {
            var point = FirstWriter + collector.Cursor++;
            collector.Wait |= (byte)(Has(state.Registered, point) && !state.IsEnded(point) ? 1 << point : 0);
            if (!scope.Pages)
                continue;
            Add("collector {0} lists runs, so far {s}", number, collector.Wait, With(state, number, collector));
            return;
        }

        if (!rules.CondemnBeforeListingRuns && !record.Records.HasFlag(EpochRecords.Condemn))
        {
            Add("collector {0} has listed the runs {s}", number, collector.Wait, With(
                state, number, collector with { Pc = CollectorStep.Condemning }));
            return;
        }

        var next = With(state, number, collector with { Pc = CollectorStep.Waiting, Cursor = 0, Wait = 0 });
        var written = record with { Wait = collector.Wait, Records = record.Records | EpochRecords.Wait };
        var isFirst = !record.Records.HasFlag(EpochRecords.Wait);
        Add("collector {0} is to wait for {s}", number, isFirst ? written.Wait : record.Wait, isFirst ? With(
            next, collector.Epoch, written) : next);
    }

    private void Wait(in ModelState state, int number, Epoch record)
    {
        var isOver = true;
        for (var point = FirstWriter; point < FirstWriter + scope.Writers; point++)
            isOver &= !Has(record.Wait, point) || state.IsEnded(point);
        if (isOver || !rules.WaitForEarlierRuns || !rules.RevokedByTombstone)
            Add("collector {0} waited", number, -1, With(state, number, state.Collectors[number] with
            {
                Pc = rules.PointsBeforeRuns ? CollectorStep.MarkingPoints : CollectorStep.MarkingPins,
            }));
    }

    private void MarkPoint(in ModelState state, int number)
    {
        var collector = state.Collectors[number];
        var isLast = false;
        do
        {
            var point = collector.Cursor++;
            isLast = collector.Cursor == FirstWriter + scope.Writers;
            var exists = Has(state.Committed & ~(rules.RosterHonoured ? state.Gone : 0), point);
            collector.Live |= (byte)(exists ? 1 << point : 0);
            collector.Dead |= (byte)(state.Tombstones & (1 << point));
        }
        while (!isLast && !scope.Pages);
        if (isLast)
            (collector.Pc, collector.Cursor) = (CollectorStep.MarkingExpired, 0);
        Add("collector {0} lists points, so far {s}", number, collector.Live, With(state, number, collector));
    }

    private void MarkExpired(in ModelState state, int number)
    {
        var collector = state.Collectors[number];
        var dead = rules.ExpireDecides ? state.Expired : state.Retired;
        Add("collector {0} leaves out the expired {s}", number, dead, With(state, number, collector with
        {
            Pc = rules.PointsBeforeRuns ? CollectorStep.MarkingPins : CollectorStep.Judging,
            Live = (byte)(collector.Live & ~dead),
            Dead = (byte)(collector.Dead | (collector.Live & dead)),
        }));
    }

    private void MarkPin(in ModelState state, int number, Epoch record)
    {
        var collector = state.Collectors[number];
        var isLast = false;
        do
        {
            var run = collector.Cursor++;
            isLast = collector.Cursor >= scope.Writers + (scope.Readers ? 1 : 0);
            var protects = run >= scope.Writers ? state.ReaderPc is >= Announced and <= Reading : Protects(state, record, run);
            collector.IsProtected |= protects && rules.PinsProtect;
        }
        while (!isLast && !scope.Pages);
        if (isLast)
            (collector.Pc, collector.Cursor) = (rules.PointsBeforeRuns ? CollectorStep.Judging : CollectorStep.MarkingPoints, 0);
        Add(
            collector.IsProtected ? "collector {0} lists runs and finds pins" : "collector {0} lists runs and finds no pins", number, -1,
            With(state, number, collector));
    }

    private bool Protects(in ModelState state, Epoch record, int writer)
    {
        var point = FirstWriter + writer;
        if (!Has(state.Registered & ~state.Tombstones, point) || state.Writers[writer].Base == 0)
            return false;
        if (!rules.EndedPinsProtect && state.IsEnded(point))
            return false;
        return rules.RevokedByTombstone || state.IsEnded(point) || !Has(record.Wait, point);
    }

    private void Judge(in ModelState state, int number, Epoch record)
    {
        var newest = NewestIndex(state);
        var named = Named(state, newest);
        var usable = rules.CopyIsUsable ? named & state.Packs : named | state.Segments;
        var condemned = record.Condemned & state.Packs;
        var collector = state.Collectors[number];
        var isProtected = collector.Live != 0 || collector.IsProtected;
        if (!isProtected || (usable & ~condemned) != 0 || !rules.KeepOneCopy)
        {
            Judged(state, number, newest, condemned, 0);
            return;
        }

        var sources = usable & condemned;
        for (var kept = 0; kept < 8; kept++)
        {
            if (Has(sources, kept))
                Judged(state, number, newest, condemned & ~(1 << kept), 0);
        }

        if (sources == 0)
            Judged(state, number, newest, condemned, 0);
        else if (scope.Repack && condemned != 0)
            Judged(state, number, newest, condemned, 1 << (FirstRepack + number));
    }

    private void Judged(in ModelState state, int number, int newest, int delete, int copy)
    {
        var collector = state.Collectors[number];
        var what = copy == 0 ? "collector {0} is to delete {s}" : "collector {0} copies the blob and is to delete {s}";
        Add(what, number, delete, With(state with { Packs = (byte)(state.Packs | copy) }, number, collector with
        {
            Pc = CollectorStep.Deciding,
            Delete = (byte)delete,
            Fold = (byte)((Named(state, newest) & state.Packs & ~delete) | copy),
            Superseded = (byte)Counting(state, newest),
        }));
    }

    // From the verdict on everything follows from the records alone, so that any collector can finish it.
    private void CarryOut(in ModelState state, int number, Epoch record)
    {
        var collector = state.Collectors[number];
        var delete = rules.SingleVerdict ? record.Delete : collector.Delete;
        var goOn = With(state, number, collector with { Pc = collector.Pc + 1 });
        switch (collector.Pc)
        {
            case CollectorStep.Deciding:
                Decide(state, number, record);
                break;
            case CollectorStep.Publishing:
                if (rules.IndexBeforeDelete || (state.Packs & delete) == 0)
                    Publish(goOn, number, collector, record);
                else
                    Add("collector {0} deletes packs {s}", number, delete, state with { Packs = (byte)(state.Packs & ~delete) });
                break;
            case CollectorStep.DroppingSegments or CollectorStep.DroppingPacks:
                var isLast = collector.Pc == CollectorStep.DroppingPacks && !scope.Keys;
                var dropped = isLast ? With(state, number, collector with { Pc = CollectorStep.Finishing }) : goOn;
                if (rules.SegmentsBeforePacks == (collector.Pc == CollectorStep.DroppingSegments))
                {
                    dropped.Segments = (byte)(state.Segments & ~record.Superseded);
                    Add("collector {0} deletes segments {s}", number, record.Superseded, dropped);
                }
                else
                {
                    dropped.Packs = (byte)(state.Packs & ~delete);
                    Add("collector {0} deletes packs {s}", number, delete, dropped);
                }

                break;
            case CollectorStep.DroppingKeys:
                DropKeys(goOn, number, collector.Epoch);
                break;
            case CollectorStep.Finishing:
                Add("collector {0} is done with epoch {1}", number, collector.Epoch, With(With(state, number, default(Collector)) with
                {
                    Registered = (byte)(state.Registered & ~record.Over),
                }, collector.Epoch, record with { Records = record.Records | EpochRecords.Done }));
                break;
        }
    }

    private void Decide(in ModelState state, int number, Epoch record)
    {
        var collector = state.Collectors[number];
        var cleared = new Collector { Pc = CollectorStep.Publishing, Epoch = collector.Epoch };
        if (record.Records.HasFlag(EpochRecords.Verdict) && rules.SingleVerdict)
        {
            Add("collector {0} follows the verdict to delete {s}", number, record.Delete, With(state, number, cleared));
            return;
        }

        var verdict = record with
        {
            Delete = collector.Delete,
            Fold = collector.Fold,
            Superseded = collector.Superseded,
            Gone = collector.Dead,
            Records = record.Records | EpochRecords.Verdict,
        };
        var next = rules.SingleVerdict ? cleared : collector with { Pc = CollectorStep.Publishing };
        Add("collector {0} decides to delete {s}", number, collector.Delete, With(With(state, number, next), collector.Epoch, verdict));
    }

    private void Publish(ModelState next, int number, Collector collector, Epoch record)
    {
        if (!rules.SingleVerdict)
            record = record with { Fold = collector.Fold == 0 ? record.Fold : collector.Fold };
        var published = record with { Records = record.Records | EpochRecords.Index };
        Add("collector {0} publishes the index of {s}", number, record.Fold, With(next, collector.Epoch, published) with
        {
            Gone = (byte)(next.Gone | record.Gone),
        });
    }

    private void DropKeys(ModelState next, int number, int epoch)
    {
        var folded = Superseded(next, epoch) | ~next.Segments;
        var points = rules.KeysAfterFold ? next.Committed & next.Expired & next.Gone & folded : next.Committed & next.Expired;
        var tombstones = next.Tombstones & next.Gone;
        Add("collector {0} removes the keys {s}", number, points | tombstones, next with
        {
            Committed = (byte)(next.Committed & ~points),
            Tombstones = (byte)(next.Tombstones & ~tombstones),
            Removed = (byte)(next.Removed | points | tombstones),
        });
    }
}
