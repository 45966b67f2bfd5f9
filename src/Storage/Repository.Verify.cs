// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class Repository
{
    /// <summary>Looks for damage; reports bytes read. Runs beside backups; what it finds is in the result, not thrown.</summary>
    /// <exception cref="StoreException">The store failed: nothing is known then.</exception>
    public async Task<VerifyResult> VerifyAsync(VerifyLevel level, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        using var afresh = new Repository(_context.Fresh());
        var points = await afresh.ListPointsAsync(null, cancellationToken);
        using var run = new VerifyRun(_context, progress);
        return await run.RunAsync(points, level, cancellationToken);
    }
}
