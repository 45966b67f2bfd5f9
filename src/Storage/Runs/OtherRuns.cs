// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Finds what runs under way have stored (docs/format.md section 10c), so that hosts with equal content that back up at once need not
/// each store it. Looks again, beside the run's work, whenever that had so much to store; what it does not find costs dedup, nothing
/// else. Safe from any thread.
/// </summary>
/// <param name="context">The repository.</param>
/// <param name="start">The run, which registered and read what is condemned before.</param>
/// <param name="index">Takes what is found.</param>
/// <param name="lookAfter">Bytes of new chunks between two looks.</param>
/// <param name="stop">Ends a look.</param>
internal sealed class OtherRuns(RepositoryContext context, RunStart start, RepositoryIndex index, long lookAfter, CancellationToken stop)
    : IAsyncDisposable
{
    private const int MostRuns = 16; // the newest: requests do not follow the number of hosts
    private const int MostPacks = 256; // of one run in one look: nobody can make another host read without end
    private readonly Lock _gate = new();
    private long _sinceLook;
    private Task _looking = Task.CompletedTask;

    /// <summary>Looks that came to their end.</summary>
    public int Looks { get; private set; }

    public bool IsLooking => !_looking.IsCompleted;

    /// <summary>Whether another run had not ended when this one began, or began since; false where that can't be told.</summary>
    public async Task<bool> AnyAsync()
    {
        try
        {
            return (await ListAsync()).Count > 0;
        }
        catch (StoreException)
        {
            return false; // as below
        }
    }

    /// <summary>This run is to store a chunk that it found nowhere.</summary>
    public void MustStore(int bytes)
    {
        lock (_gate)
        {
            _sinceLook += bytes;
            if (_sinceLook < lookAfter || !_looking.IsCompleted)
                return;
            _sinceLook = 0;
            _looking = context.Scheduler.Start(LookAsync);
        }
    }

    public async ValueTask DisposeAsync() => await _looking.Quietly();

    private async Task LookAsync()
    {
        try
        {
            foreach (var run in await ListAsync())
            {
                var packs = new List<ListedPack>();
                await foreach (var info in context.Store.ListAsync(ObjectNames.PacksOf(run.Writer, run.Id), stop))
                {
                    if (packs.Count < MostPacks && ListedPack.TryParse(info) is { Name.IsData: true } pack && index.MayAdopt(pack.Name))
                        packs.Add(pack);
                }

                await index.AdoptAsync(packs, stop);
            }

            Looks++;
        }
        catch (StoreException)
        {
            return; // nothing is shared then; if the store is really gone, the run finds out by its own work
        }
    }

    private async Task<IReadOnlyList<ListedRun>> ListAsync()
    {
        var runs = await RunListing.ReadAsync(context.Store, null, stop);
        return [.. runs
            .Where(run => run.Id != start.Id && MachineId.IsValid(run.Machine) && !run.HasEnd && !start.Listing.HasEnded(run.Id))
            .OrderByDescending(run => run.Id.ToString(), StringComparer.Ordinal)
            .Take(MostRuns)];
    }
}
