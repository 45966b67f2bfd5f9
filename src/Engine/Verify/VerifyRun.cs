// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Verify;

/// <summary>Checks a repository and says what is damaged, and which restore points that hurts.</summary>
internal static class VerifyRun
{
    /// <param name="repository">What to check.</param>
    /// <param name="level">How deep.</param>
    /// <param name="points">Short ids; empty for everything.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    public static async Task<VerifyResult> RunAsync(
        Repository repository, VerifyLevel level, IReadOnlyList<string> points, CancellationToken cancellationToken)
    {
        try
        {
            var all = await repository.ListPointsAsync(null, cancellationToken);
            var chosen = points.Count == 0
                ? null
                : all.Points.Where(point => points.Contains(point.ShortId, StringComparer.Ordinal)).Select(point => point.Id).ToHashSet();
            var found = await repository.VerifyAsync(Translate(level), chosen, null, cancellationToken);
            return new VerifyResult(
                found.IsSound,
                new VerifyCounts(level.ToString().ToLowerInvariant(), found.Points, found.Segments + found.Packs, found.Bytes),
                found.Damaged.Select(damage => new DamagedItem(
                    damage.Key, damage.Problem, damage.Affected.Select(point => point.ShortId).ToList())).ToList());
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    private static Storage.VerifyLevel Translate(VerifyLevel level) => level switch
    {
        VerifyLevel.Quick => Storage.VerifyLevel.Quick,
        VerifyLevel.Packs => Storage.VerifyLevel.Packs,
        _ => Storage.VerifyLevel.Data,
    };
}
