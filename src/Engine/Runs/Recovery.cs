// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines;
using Tidemark.Engine.Repositories;

namespace Tidemark.Engine.Runs;

/// <summary>
/// Puts right what a dead run left on a machine. The caller holds the machine's lock, so the run is dead for certain. Order:
/// thaw, since a guest waits; then the tombstone, since nothing else may be touched while the run could still count as
/// committed; then the job, the folder, the checkpoint of a run that is revoked, and last the journal entry.
/// What the dead run had asked for may still be under way in the hypervisor: a job that begins late fails without its folder,
/// or is found by the second look, and a late freeze by the second thaw.
/// Every step may be done again: a crash in here is cleaned by the next one.
/// </summary>
internal sealed class Recovery(IHypervisor hypervisor, Journal journal)
{
    private static readonly TimeSpan ThawLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan FenceLimit = TimeSpan.FromSeconds(15);

    /// <summary>Cleans after all dead runs of a machine; returns what was found, one sentence each.</summary>
    public async Task<IReadOnlyList<string>> CleanMachineAsync(string machineUuid, CancellationToken cancellationToken)
    {
        var found = new List<string>();
        foreach (var entry in await journal.OfMachineAsync(machineUuid, cancellationToken))
        {
            var clean = await CleanAsync(entry, TimeSpan.Zero, cancellationToken);
            if (!entry.ThawOwed)
                found.Add($"An earlier run ({entry.Run:n}) died; {(clean ? "it was cleaned up" : "its clean-up is not complete yet")}.");
            else if (!clean)
                found.Add("The guest's agent does not answer, and a freeze sent to it earlier may still take effect.");
        }

        return found;
    }

    /// <summary>Cleans after one run; false when something remains for a later try.</summary>
    /// <param name="entry">What the run may have left.</param>
    /// <param name="beforeEnd">Time to wait before its backup job is ended.</param>
    /// <param name="cancellationToken">Ends the clean-up between steps.</param>
    public async Task<bool> CleanAsync(JournalEntry entry, TimeSpan beforeEnd, CancellationToken cancellationToken)
    {
        var thawed = !entry.MayFreeze || await hypervisor.ThawAsync(entry.MachineUuid, ThawLimit, cancellationToken);
        if (entry.ThawOwed)
        {
            if (thawed)
                journal.Remove(entry.Run);
            return thawed;
        }

        var fence = await FenceAsync(entry, cancellationToken);
        if (beforeEnd > TimeSpan.Zero)
            await Task.Delay(beforeEnd, cancellationToken);
        await hypervisor.EndJobAsync(entry.MachineUuid, entry.Folder, cancellationToken);
        RunFolder.Remove(entry.Folder);
        await hypervisor.EndJobAsync(entry.MachineUuid, entry.Folder, cancellationToken);
        if (entry.AfterThaw.Count > 0)
            entry = await RunHooksAsync(entry, cancellationToken);
        if (fence == RunFate.Unknown)
            return false;
        // Where another repository is now, the checkpoint stays: the next run into its own fences it, and removes what nobody needs.
        if (fence == RunFate.Revoked && entry.Checkpoint is { } checkpoint)
            await hypervisor.DeleteCheckpointAsync(entry.MachineUuid, checkpoint, cancellationToken);
        if (thawed && entry.MayFreeze)
            thawed = await hypervisor.ThawAsync(entry.MachineUuid, ThawLimit, cancellationToken);
        if (thawed)
            journal.Remove(entry.Run);
        else
            await journal.WriteAsync(entry with { ThawOwed = true }, cancellationToken);
        return thawed;
    }

    // At least once: of a hook that the worker died in, nobody knows how far it came.
    private async Task<JournalEntry> RunHooksAsync(JournalEntry entry, CancellationToken cancellationToken)
    {
        try
        {
            await Hooks.RunAsync("after-thaw", entry.AfterThaw, entry.MachineName, entry.MachineUuid, cancellationToken);
        }
        catch (EngineException)
        {
            // As in a run that lives: its failure changes nothing.
        }

        var rest = entry with { AfterThaw = [] };
        await journal.WriteAsync(rest, cancellationToken);
        return rest;
    }

    private static async Task<RunFate> FenceAsync(JournalEntry entry, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(FenceLimit);
        try
        {
            return await RepositorySession.FenceAsync(entry.Repository, entry.RepositoryPart, entry.MachineUuid, entry.Run, limit.Token);
        }
        catch (Exception) when (!cancellationToken.IsCancellationRequested)
        {
            // Whatever is wrong with the repository, the machine is put right; how the run ended is asked again later.
            return RunFate.Unknown;
        }
    }
}
