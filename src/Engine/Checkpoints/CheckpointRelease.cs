// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;
using Tidemark.Qemu;

namespace Tidemark.Engine.Checkpoints;

/// <summary>What a release did.</summary>
/// <param name="Machine">Its name.</param>
/// <param name="Released">Checkpoints of ours that are gone, records and bitmaps.</param>
/// <param name="Kept">Checkpoints and bitmaps that are still there: foreign ones, and those of other repositories.</param>
public sealed record ReleaseResult(string Machine, IReadOnlyList<string> Released, IReadOnlyList<string> Kept);

/// <summary>
/// Lets go of what we keep on a machine, since QEMU and libvirt refuse some operations while there are bitmaps: reverting to an
/// internal snapshot, snapshots of a machine that is off. The next backup reads its disks in full and tracks them anew.
/// </summary>
public static class CheckpointRelease
{
    /// <param name="hypervisor">Where the machine is.</param>
    /// <param name="facts">The machine; the caller holds its lock since before they were read.</param>
    /// <param name="repositoryPart">First 8 hex digits of the repository's id; null for all repositories of ours.</param>
    /// <param name="folders">This host's folders: leftovers of dead runs go too.</param>
    /// <param name="shared">A folder of checkpoint records that hosts share; null for none.</param>
    /// <param name="tell">Told what went less well.</param>
    /// <param name="cancellationToken">Ends it between checkpoints.</param>
    /// <exception cref="EngineException">A job is active on the machine, or an image is in use.</exception>
    public static async Task<ReleaseResult> RunAsync(
        IHypervisor hypervisor, BitmapFacts facts, string? repositoryPart, HostFolders folders, string? shared, Action<string> tell,
        CancellationToken cancellationToken)
    {
        var machine = facts.Machine;
        var homes = new RecordHomes(folders, shared, machine.Uuid);
        if (machine.JobActive)
            throw EngineException.Busy($"Machine '{machine.Name}' has a job of the hypervisor running (backup, migration, block copy).");
        if (facts.Unseen.Count > 0)
            throw EngineException.Failed($"The bitmaps of '{machine.Name}' are not known: {facts.Unseen[0]}");
        await new Recovery(hypervisor, new Journal(folders)).CleanMachineAsync(machine.Uuid, cancellationToken);
        var all = facts.Checkpoints.Select(record => record.Name).Union(
            machine.Disks.SelectMany(disk => disk.Bitmaps.Keys), StringComparer.Ordinal).ToList();
        var ours = all.Where(name => IsOurs(name, repositoryPart)).ToList();
        if (machine.State == MachineState.Off)
            await ReleaseOfflineAsync(hypervisor, machine, ours, cancellationToken);
        else
            await ReleaseLiveAsync(hypervisor, machine, ours, cancellationToken);
        await ForgetAsync(hypervisor, machine, ours, homes, tell, cancellationToken);
        return new ReleaseResult(machine.Name, ours, all.Except(ours, StringComparer.Ordinal).ToList());
    }

    // What is written down of them beside the hypervisor goes too, so that nobody tells it again.
    private static async Task ForgetAsync(
        IHypervisor hypervisor, Machine machine, IReadOnlyList<string> gone, RecordHomes homes, Action<string> tell,
        CancellationToken cancellationToken)
    {
        var left = machine with
        {
            Disks = machine.Disks.Select(disk => disk with
            {
                Bitmaps = disk.Bitmaps.Where(bitmap => !gone.Contains(bitmap.Key, StringComparer.Ordinal))
                    .ToDictionary(bitmap => bitmap.Key, bitmap => bitmap.Value, StringComparer.Ordinal),
            }).ToList(),
        };
        var known = await hypervisor.CheckpointsAsync(machine.Uuid, cancellationToken);
        await homes.WriteAsync(left, known, [], null, null, tell, cancellationToken);
    }

    private static bool IsOurs(string name, string? repositoryPart) =>
        CheckpointName.TryParse(name, out var parsed) && (repositoryPart is null || parsed.Value.Repository == repositoryPart);

    private static async Task ReleaseLiveAsync(
        IHypervisor hypervisor, Machine machine, IReadOnlyList<string> names, CancellationToken cancellationToken)
    {
        foreach (var name in names)
            await hypervisor.DeleteCheckpointAsync(machine.Uuid, name, cancellationToken);
    }

    // The bitmaps first: a record without bitmap heals, a bitmap without record would have to be found again.
    private static async Task ReleaseOfflineAsync(
        IHypervisor hypervisor, Machine machine, IReadOnlyList<string> names, CancellationToken cancellationToken)
    {
        try
        {
            await OfflineBitmaps.RemoveAsync(machine, names.ToHashSet(StringComparer.Ordinal), cancellationToken);
        }
        catch (ImageToolException e)
        {
            throw EngineException.Failed(e.Message, "is the machine being started? run it again", e);
        }

        foreach (var name in names)
            await hypervisor.ForgetCheckpointAsync(machine.Uuid, name, cancellationToken);
    }
}
