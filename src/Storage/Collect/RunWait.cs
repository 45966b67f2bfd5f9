// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>The runs that must have ended before what was condemned is judged (docs/format.md section 9, steps 4 and 5).</summary>
internal sealed class RunWait(RepositoryContext context, TimeSpan silence, DateTimeOffset now)
{
    /// <summary>Runs under way that may commit; listed after the packs were condemned.</summary>
    public Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellationToken) => ListAsync(andCollectors: false, cancellationToken);

    /// <summary>The same, and collectors that have not ended: nobody waits for those, but what a dead one wrote is garbage.</summary>
    public Task<IReadOnlyList<string>> ListWithCollectorsAsync(CancellationToken cancellationToken) =>
        ListAsync(andCollectors: true, cancellationToken);

    private async Task<IReadOnlyList<string>> ListAsync(bool andCollectors, CancellationToken cancellationToken)
    {
        var waiting = new List<string>();
        var runs = await RunListing.ReadAsync(context.Store, null, cancellationToken);
        var ended = new HashSet<string>(StringComparer.Ordinal);
        await foreach (var info in context.Store.ListAsync(ObjectNames.Points, cancellationToken))
            ended.Add(info.Key);
        foreach (var run in runs)
        {
            if ((run.IsCollector && !andCollectors) || run.HasEnd || ended.Contains(ObjectNames.Fence(run.Machine, run.Id)))
                continue;
            var (isThere, document) = await RunListing.ReadDocumentAsync(context, run, cancellationToken);
            if (isThere && document?.Purpose != RunDocument.Read)
                waiting.Add(run.Key);
        }

        return waiting;
    }

    /// <summary>Revokes those that gave no sign of life for long, and tells which are still under way.</summary>
    public async Task<(IReadOnlyList<WaitingRun> Left, int Revoked)> SettleAsync(
        IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        var left = new List<WaitingRun>();
        var revoked = 0;
        if (keys.Count == 0)
            return (left, revoked);
        var listed = await RunListing.ReadAsync(context.Store, null, cancellationToken);
        var runs = listed.ToDictionary(run => run.Key, StringComparer.Ordinal);
        foreach (var key in keys)
        {
            if (!runs.TryGetValue(key, out var run) || await HasEndedAsync(key, run.Machine, run.Id, cancellationToken))
                continue;
            if (now - run.LastSeen > silence)
                revoked += await RevokeAsync(run, cancellationToken) ? 1 : 0;
            else
                left.Add(await DescribeAsync(run, cancellationToken));
        }

        return (left, revoked);
    }

    /// <summary>What people should know of runs.</summary>
    public async Task<IReadOnlyList<WaitingRun>> DescribeAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        var described = new List<WaitingRun>();
        foreach (var run in await RunListing.ReadAsync(context.Store, null, cancellationToken))
        {
            if (keys.Contains(run.Key, StringComparer.Ordinal))
                described.Add(await DescribeAsync(run, cancellationToken));
        }

        return described;
    }

    private async ValueTask<bool> HasEndedAsync(string key, string machine, RunId run, CancellationToken cancellationToken) =>
        await context.Store.HeadAsync(ObjectNames.Fence(machine, run), cancellationToken) is not null
        || await context.Store.HeadAsync(key, cancellationToken) is null;

    private async ValueTask<bool> RevokeAsync(ListedRun run, CancellationToken cancellationToken) =>
        await RunFence.FenceAsync(context.Store, ObjectNames.Fence(run.Machine, run.Id), cancellationToken) == RunEnd.Revoked;

    private async Task<WaitingRun> DescribeAsync(ListedRun run, CancellationToken cancellationToken)
    {
        var (_, document) = await RunListing.ReadDocumentAsync(context, run, cancellationToken);
        return new WaitingRun(
            run.Machine, document?.Host ?? run.Writer.ToString(), run.Id.ShortId, document?.Time ?? run.LastSeen, run.LastSeen);
    }
}
