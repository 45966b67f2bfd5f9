// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class Repository
{
    /// <summary>
    /// Looks for damage; reports bytes read. Runs beside backups; what it finds is in the result, not thrown. With
    /// <paramref name="only"/>, what those points need is looked at (packs are hashed all the same: points share them).
    /// </summary>
    /// <exception cref="StoreException">The store failed: nothing is known then.</exception>
    public Task<VerifyResult> VerifyAsync(
        VerifyLevel level, IReadOnlySet<RunId>? only, IProgress<long>? progress, CancellationToken cancellationToken) =>
        VerifyAsync(new VerifyOptions { Level = level, Only = only }, progress, cancellationToken);

    /// <summary>The same, and with <see cref="VerifyOptions.Quarantine"/> damaged packs are recorded, so that backups heal them.</summary>
    /// <exception cref="StoreException">The store failed: nothing is known then.</exception>
    /// <exception cref="KeyRoleException">Level data, and the key opens no guest data; or with a budget, only one domain's.</exception>
    public async Task<VerifyResult> VerifyAsync(VerifyOptions options, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        if (options.Level == VerifyLevel.Data)
            _context.Keys.RequireData();
        if (options is { Level: VerifyLevel.Data, Budget: not null } && Role != KeyRole.Full)
            throw new KeyRoleException(
                $"The key given opens key domain '{Domain}' only; a check of packs part by part at level data needs a full key.");
        using var afresh = new Repository(_context.Fresh());
        var points = await afresh.ListReadablePointsAsync(null, cancellationToken);
        var read = options is { Level: VerifyLevel.Data, Budget: null }
            ? points.Points.Where(point => Opens(point.Domain) && options.Only?.Contains(point.Id) != false).ToArray() : [];
        await using var mark = await afresh.MarkReadAsync(
            ObjectNames.ReaderMachine, read.SelectMany(point => point.Trees), cancellationToken);
        if (read.Length > 0)
            points = await afresh.ListAgainAsync(points, cancellationToken);
        points = points with
        {
            Damaged =
            [
                .. points.Damaged, .. afresh.FindReplaced(points.Points),
                .. await RosterCheck.ProblemsAsync(afresh, cancellationToken),
            ],
        };
        if (options.Only is { } only)
            points = new PointListing([.. points.Points.Where(point => only.Contains(point.Id))], []);
        using var run = new VerifyRun(this, progress);
        return await run.RunAsync(points, options, cancellationToken);
    }

    // I17: who reads registers first, and then looks for what was deleted. What came since is not registered, and left out.
    private async Task<PointListing> ListAgainAsync(PointListing before, CancellationToken cancellationToken)
    {
        var known = before.Points.Select(point => (point.MachineId, point.Id)).ToHashSet();
        var now = await ListReadablePointsAsync(null, cancellationToken);
        return now with { Points = [.. now.Points.Where(point => known.Contains((point.MachineId, point.Id)))] };
    }
}
