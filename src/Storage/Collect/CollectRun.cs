// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// One call of a collector (docs/format.md section 9, Collection): finishes the epoch that is open, then begins one of its own if there
/// is something to do, and goes as far as the runs under way allow. Any number may run at once, and die anywhere.
/// <code>
/// (nothing) --BeginAsync: condemn--> open --DecideAsync: wait, mark, verdict--> decided --VerdictRun: index, deletions, done--> over
/// </code>
/// </summary>
internal sealed class CollectRun : IAsyncDisposable
{
    private const int MaxTries = 16; // epochs that others finish under this collector's feet
    private readonly Repository _repository;
    private readonly RepositoryContext _context;
    private readonly CollectOptions _options;
    private readonly IProgress<CollectProgress>? _progress;
    private readonly RunId _id;
    private readonly string _key;
    private readonly Heartbeat _heartbeat;
    private CollectorView? _view;
    private CollectResult _result = new();

    private CollectRun(Repository repository, CollectOptions options, IProgress<CollectProgress>? progress, RunId id, string key)
    {
        (_repository, _context, _options, _progress, _id, _key) = (repository, repository.Context, options, progress, id, key);
        _heartbeat = new Heartbeat(_context, key);
    }

    private CollectorRules Rules => _options.Rules;

    /// <summary>The store's time of this run's own object.</summary>
    private DateTimeOffset Now { get; set; }

    public static async Task<CollectResult> RunAsync(
        Repository repository, CollectOptions options, IProgress<CollectProgress>? progress, CancellationToken cancellationToken)
    {
        try
        {
            return await TryRunAsync(repository, options, progress, cancellationToken);
        }
        catch (StoreFullException failure)
        {
            throw await CollectRoom.ExplainAsync(repository.Context.Store, failure, cancellationToken);
        }
    }

    private static async Task<CollectResult> TryRunAsync(
        Repository repository, CollectOptions options, IProgress<CollectProgress>? progress, CancellationToken cancellationToken)
    {
        var revoked = await repository.RevokeDeadRunsAsync(cancellationToken);
        var id = repository.Context.NewRun();
        var key = await repository.AnnounceAsync(RunDocument.Collect, ObjectNames.CollectorMachine, id, [], cancellationToken);
        await using var run = new CollectRun(repository, options, progress, id, key);
        run.Now = await run.StoreTimeAsync(cancellationToken);
        run._result = new CollectResult { Revoked = revoked };
        await run.ExpireAsync(cancellationToken);
        await run.RevokeSilentAsync(cancellationToken);
        await run.CollectAsync(cancellationToken);
        return run._result;
    }

    /// <summary>Ends the run, so that what it wrote for nothing can be collected.</summary>
    public async ValueTask DisposeAsync()
    {
        _view?.Dispose();
        await _heartbeat.DisposeAsync();
        try
        {
            await RunFence.FenceAsync(_context.Store, ObjectNames.Fence(ObjectNames.CollectorMachine, _id), CancellationToken.None);
        }
        catch (StoreException)
        {
            return; // its heartbeats have ended
        }
    }

    private async Task<DateTimeOffset> StoreTimeAsync(CancellationToken cancellationToken) =>
        (await _context.Store.HeadAsync(_key, cancellationToken))?.Modified
        ?? throw new StoreException($"Object '{_key}' was created in '{_context.Store.Description}' but can't be seen there.", true);

    private async Task ExpireAsync(CancellationToken cancellationToken)
    {
        foreach (var suffix in await PointExpiry.DueAsync(_repository, _options.UndoWindow, Now, cancellationToken))
        {
            if (await _context.Store.PutIfAbsentAsync(ObjectNames.Expired + suffix, ReadOnlyMemory<byte>.Empty, cancellationToken))
                _result = _result with { Expired = _result.Expired + 1 };
        }
    }

    // Even when nothing can be condemned: what they pinned may be all there is to give back. Packs that a collector moved for a verdict
    // that never came are nobody's once it has ended.
    private async Task RevokeSilentAsync(CancellationToken cancellationToken)
    {
        var wait = new RunWait(_context, _options.Silence, Now);
        var settled = await wait.SettleAsync(await wait.ListWithCollectorsAsync(cancellationToken), cancellationToken);
        _result = _result with { Revoked = _result.Revoked + settled.Revoked };
    }

    private async Task CollectAsync(CancellationToken cancellationToken)
    {
        var begun = 0;
        for (var attempt = 1; attempt <= MaxTries; attempt++)
        {
            var epochs = await EpochListing.ReadAsync(_context, cancellationToken);
            if (epochs.Feature("collect") is { } feature)
                throw new FormatTooNewException($"The repository needs '{feature}' for collecting, which this program does not know.");
            try
            {
                if (!epochs.Has(epochs.Current, EpochListing.Condemn))
                {
                    if (begun > 0 || !await BeginAsync(epochs, cancellationToken))
                        return;
                    begun = epochs.Current;
                }

                _result = _result with { Epoch = epochs.Current };
                if (!await FinishAsync(epochs, cancellationToken))
                {
                    _result = _result with { KeptBytes = await SizeOfPacksAsync(cancellationToken) };
                    return;
                }

                _result = _result with { EpochsFinished = _result.EpochsFinished + 1 };
                Forget();
            }
            catch (StaleEpochException)
            {
                Forget();
            }
            catch (RepositoryDamagedException)
            {
                // What another collector has moved or deleted meanwhile is no damage: its verdict is to be followed.
                if (!await new EpochRecords(_context, epochs.Current).IsDecidedAsync(cancellationToken))
                    throw;
                Forget();
            }
        }
    }

    private async Task<long> SizeOfPacksAsync(CancellationToken cancellationToken)
    {
        long bytes = 0;
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
            bytes += info.Size;
        return bytes;
    }

    private void Forget()
    {
        _view?.Dispose();
        _view = null;
    }

    private async Task<bool> BeginAsync(EpochListing epochs, CancellationToken cancellationToken)
    {
        var view = await LookAsync(epochs, cancellationToken);
        var chosen = new PackChoice(view.Index, Rules, _context.Keys.Role == KeyRole.Full).Choose(view.LiveRuns(), _options.MoveBudget);
        if (chosen.Count == 0 && !VerdictDraft.IsWorthwhile(view, epochs, _options, Now))
        {
            _result = _result with { KeptBytes = view.Packs.Values.Sum() };
            return false;
        }

        DeleteLimit.Check(view, chosen, _options.MaxDeletePercent);
        await ProbeAsync(epochs.Current, cancellationToken);
        var records = new EpochRecords(_context, epochs.Current);
        if (!Rules.CondemnBeforeListingRuns)
            await ListWaitAsync(records, cancellationToken);
        var condemn = new CondemnDocument { Packs = [.. chosen.Select(choice => choice.Pack.Name.Key)] };
        await records.PutAsync(EpochListing.Condemn, condemn, FormatJson.Default.CondemnDocument, cancellationToken);
        return true;
    }

    private async Task<CollectorView> LookAsync(EpochListing epochs, CancellationToken cancellationToken)
    {
        _view ??= new CollectorView(_repository.Afresh(), _options, Now, _progress);
        await _view.LookAsync(epochs, cancellationToken);
        return _view;
    }

    private async Task ProbeAsync(int epoch, CancellationToken cancellationToken)
    {
        var text = "";
        try
        {
            await _context.Store.ProbeAsync(cancellationToken);
        }
        catch (StoreUnsuitableException failure)
        {
            text = failure.Message;
        }

        var document = new ProbeDocument { Ok = text.Length == 0, Time = _context.Clock.GetUtcNow(), Text = text };
        await new EpochRecords(_context, epoch).PutAsync(EpochListing.Probe, document, FormatJson.Default.ProbeDocument, cancellationToken);
        if (text.Length > 0)
            throw new CollectionRefusedException(
                $"'{_context.Store.Description}' does not create atomically: backups can go there, but nothing is collected. {text}");
    }

    /// <summary>Brings an open epoch to its end; false when it waits for runs.</summary>
    private async Task<bool> FinishAsync(EpochListing epochs, CancellationToken cancellationToken)
    {
        var epoch = epochs.Current;
        var verdict = await EpochListing.ReadRecordAsync(
            _context, epoch, EpochListing.Verdict, FormatJson.Default.VerdictDocument, cancellationToken);
        verdict ??= await DecideAsync(epochs, cancellationToken);
        if (verdict is null)
            return false;
        var outcome = await new VerdictRun(_context, epoch, verdict, Rules, _progress).ExecuteAsync(Now, cancellationToken);
        _result = _result with
        {
            Packs = [.. _result.Packs, .. outcome.Packs],
            DeletedBytes = _result.DeletedBytes + outcome.Packs.Sum(pack => pack.Bytes),
            KeptBytes = outcome.KeptBytes,
        };
        return true;
    }

    private async Task<VerdictDocument?> DecideAsync(EpochListing epochs, CancellationToken cancellationToken)
    {
        var records = new EpochRecords(_context, epochs.Current);
        var condemned = await EpochListing.ReadRecordAsync(
            _context, epochs.Current, EpochListing.Condemn, FormatJson.Default.CondemnDocument, cancellationToken)
            ?? throw new StaleEpochException(epochs.Current);
        if (condemned.Packs.Count > 0 && Rules.WaitForEarlierRuns)
        {
            var runs = await ListWaitAsync(records, cancellationToken);
            var waiting = await new RunWait(_context, _options.Silence, Now).SettleAsync(runs, cancellationToken);
            _result = _result with { WaitingFor = waiting.Left, Revoked = _result.Revoked + waiting.Revoked };
            if (waiting.Left.Count > 0)
                return null;
        }

        try
        {
            return await JudgeAsync(records, epochs, condemned, cancellationToken);
        }
        catch (RepositoryDamagedException)
        {
            // Nothing is deleted then, and the packs may be reused again.
            var given = await records.PutAsync(
                EpochListing.Verdict, new VerdictDocument { Cancel = true }, FormatJson.Default.VerdictDocument, cancellationToken);
            if (!given.Cancel)
                return given; // what another collector deleted since is no damage
            await records.PutAsync(EpochListing.Done, new DoneDocument(), FormatJson.Default.DoneDocument, cancellationToken);
            throw;
        }
    }

    private async Task<VerdictDocument?> JudgeAsync(
        EpochRecords records, EpochListing epochs, CondemnDocument condemned, CancellationToken cancellationToken)
    {
        if (_view is null || (Rules.MarkAgain && condemned.Packs.Count > 0))
            await LookAsync(epochs, cancellationToken);
        if (_view!.Unreadable.Count > 0 && condemned.Packs.Count > 0)
        {
            var unreadable = await new RunWait(_context, _options.Silence, Now).SettleAsync(
                [.. _view.Unreadable.Select(run => run.Key)], cancellationToken);
            _result = _result with { WaitingFor = unreadable.Left, Revoked = _result.Revoked + unreadable.Revoked };
            if (unreadable.Left.Count > 0)
                return null;
        }

        _view.Index.Condemn(condemned.Packs);
        var draft = await new VerdictDraft(_context, _view, epochs, _id, _options, _progress).WriteAsync(condemned, Now, cancellationToken);
        _result = _result with { MovedBytes = _result.MovedBytes + draft.MovedBytes };
        var first = await records.PutAsync(
            EpochListing.Verdict, draft.Verdict, FormatJson.Default.VerdictDocument, cancellationToken);
        return Rules.SingleVerdict ? first : draft.Verdict;
    }

    private async Task<IReadOnlyList<string>> ListWaitAsync(EpochRecords records, CancellationToken cancellationToken)
    {
        var wait = new RunWait(_context, _options.Silence, Now);
        var document = new WaitDocument { Runs = await wait.ListAsync(cancellationToken) };
        return (await records.PutAsync(EpochListing.Wait, document, FormatJson.Default.WaitDocument, cancellationToken)).Runs;
    }
}
