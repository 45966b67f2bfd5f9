// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Storage;

namespace Tidemark.Engine.Verify;

/// <summary>Checks a repository and says what is damaged, and which restore points that hurts.</summary>
internal static class VerifyRun
{
    /// <param name="repository">What to check.</param>
    /// <param name="request">What to check.</param>
    /// <param name="progress">Told the bytes read so far.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    public static async Task<VerifyResult> RunAsync(
        Repository repository, VerifyRequest request, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var points = request.Points;
        try
        {
            var all = await repository.ListReadablePointsAsync(null, cancellationToken);
            var chosen = points.Count == 0
                ? null
                : all.Points.Where(point => points.Contains(point.ShortId, StringComparer.Ordinal)).Select(point => point.Id).ToHashSet();
            var options = new VerifyOptions
            {
                Level = Translate(request.Level),
                Only = chosen,
                Quarantine = request.Quarantine,
                Budget = BudgetOf(request),
            };
            var found = await repository.VerifyAsync(options, progress, cancellationToken);
            return new VerifyResult(
                found.IsSound,
                new VerifyCounts(request.Level.ToString().ToLowerInvariant(), found.Points, found.Segments + found.Packs, found.Bytes),
                found.Damaged.Select(damage => new DamagedItem(
                    damage.Key, damage.Problem, damage.Affected.Select(point => point.ShortId).ToList())).ToList(),
                found.Healed,
                found.Quarantined,
                found.Unread.Select(item => new UnreadItem(item.Key, item.Problem)).ToList(),
                found.OldestCheck)
            {
                Doubtful = PointMarks.Mark(all.Points).Where(point => chosen is null || chosen.Contains(point.Id))
                    .SelectMany(point => point.Disks.Where(disk => disk.Doubt is not null).Select(disk =>
                        new DoubtfulItem(point.ShortId, disk.Name, PointMarks.Sentence(disk)))).ToList(),
                OtherDomains = found.OtherDomains,
            };
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    private static VerifyBudget? BudgetOf(VerifyRequest request) => request switch
    {
        { BudgetBytes: { } bytes } => VerifyBudget.OfBytes(bytes),
        { BudgetPercent: { } percent } => VerifyBudget.OfPercent(percent),
        _ => null,
    };

    private static Storage.VerifyLevel Translate(VerifyLevel level) => level switch
    {
        VerifyLevel.Quick => Storage.VerifyLevel.Quick,
        VerifyLevel.Packs => Storage.VerifyLevel.Packs,
        _ => Storage.VerifyLevel.Data,
    };
}
