// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class Repository
{
    /// <summary>
    /// Looks for damage; reports bytes read. Runs beside backups; what it finds is in the result, not thrown. With
    /// <paramref name="only"/>, what those points need is looked at (packs are hashed all the same: points share them).
    /// </summary>
    /// <exception cref="StoreException">The store failed: nothing is known then.</exception>
    public async Task<VerifyResult> VerifyAsync(
        VerifyLevel level, IReadOnlySet<RunId>? only, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        using var afresh = new Repository(_context.Fresh());
        var points = await afresh.ListPointsAsync(null, cancellationToken);
        points = points with { Damaged = [.. points.Damaged, .. await RosterCheck.ProblemsAsync(afresh, cancellationToken)] };
        if (only is not null)
            points = new PointListing([.. points.Points.Where(point => only.Contains(point.Id))], []);
        using var run = new VerifyRun(_context, progress);
        return await run.RunAsync(points, level, cancellationToken);
    }
}
