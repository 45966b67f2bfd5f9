// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Finds the packs that failed runs of this writer left since the machine's last restore point (docs/format.md section 10b). Begun only
/// after the run registered and read what is condemned: that order makes it safe beside a collector.
/// </summary>
internal static class FailedRuns
{
    /// <param name="context">The repository.</param>
    /// <param name="machine">Whose failed runs.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="StoreException">The store failed: so does the run (I13).</exception>
    public static async Task<IReadOnlyList<ListedPack>> ListPacksAsync(
        RepositoryContext context, MachineId machine, CancellationToken cancellationToken)
    {
        var found = new List<ListedPack>();
        foreach (var run in await FailedAsync(context, machine, cancellationToken))
        {
            await foreach (var info in context.Store.ListAsync(ObjectNames.PacksOf(context.Writer, run), cancellationToken))
            {
                if (ListedPack.TryParse(info) is { Name.IsData: true } pack)
                    found.Add(pack);
            }
        }

        return found;
    }

    private static async Task<IReadOnlyList<RunId>> FailedAsync(
        RepositoryContext context, MachineId machine, CancellationToken cancellationToken)
    {
        var failed = new List<RunId>();
        var newest = "";
        await foreach (var info in context.Store.ListAsync($"{ObjectNames.Points}{machine}/", cancellationToken))
        {
            if (ObjectNames.ParsePoint(info.Key) is not { Disk: null } point)
                continue;
            if (info.Size == 0)
                failed.Add(point.Run);
            else if (string.CompareOrdinal(point.Run.ToString(), newest) > 0)
                newest = point.Run.ToString();
        }

        return [.. failed.Where(run => string.CompareOrdinal(run.ToString(), newest) > 0)];
    }
}
