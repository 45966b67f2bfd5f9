// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a collection would do now; writes nothing, and so sees deleted points by the host's clock.</summary>
internal static class CollectPlan
{
    public static async Task<CollectResult> MakeAsync(
        Repository repository, CollectOptions options, IProgress<CollectProgress>? progress, CancellationToken cancellationToken)
    {
        var now = repository.Context.Clock.GetUtcNow();
        var epochs = await EpochListing.ReadAsync(repository.Context, cancellationToken);
        var due = await PointExpiry.DueAsync(repository, options.UndoWindow, now, cancellationToken);
        using var view = new CollectorView(repository.Afresh(), options, now, progress) { AlsoExpired = due };
        await view.LookAsync(epochs, cancellationToken);
        var opensChunks = repository.Context.Keys.Role == KeyRole.Full;
        var chosen = new PackChoice(view.Index, options.Rules, opensChunks).Choose(view.LiveRuns(), options.MoveBudget);
        var wait = new RunWait(repository.Context, options.Silence, now);
        var runs = chosen.Count == 0 ? [] : await wait.DescribeAsync(await wait.ListAsync(cancellationToken), cancellationToken);
        var freed = chosen.Sum(choice => choice.Freed);
        return new CollectResult
        {
            Epoch = epochs.Current,
            WaitingFor = runs,
            Packs = [.. chosen.Select(choice => new CollectedPack(choice.Pack.Name.Key, choice.Why, choice.Freed))],
            DeletedBytes = freed,
            KeptBytes = view.Packs.Values.Sum() - freed,
            MovedBytes = chosen.Where(choice => choice.Why == PackChoice.Moved).Sum(choice => choice.Pack.Live),
            Expired = due.Count,
        };
    }
}
