// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Repositories;
using Tidemark.Storage;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// What one repository and one machine know of each other: the newest committed state of every disk, and the checkpoints that
/// this repository has on the machine. Foreign checkpoints are seen and left alone.
/// </summary>
internal sealed class Lineage
{
    private readonly IHypervisor _hypervisor;
    private readonly RepositorySession _repository;
    private readonly Machine _machine;
    private readonly Dictionary<string, (RestorePoint Point, PointDisk Disk)> _newest;

    private Lineage(
        IHypervisor hypervisor,
        RepositorySession repository,
        Machine machine,
        IReadOnlyList<CheckpointRecord> records,
        Dictionary<string, (RestorePoint Point, PointDisk Disk)> newest)
    {
        _hypervisor = hypervisor;
        _repository = repository;
        _machine = machine;
        _newest = newest;
        Records = records;
        Checkpoints = records.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        PreviousDisks = newest.ToDictionary(
            pair => pair.Key, pair => PointDocuments.Previous(pair.Value.Point, pair.Value.Disk), StringComparer.Ordinal);
    }

    /// <summary>Every checkpoint that the hypervisor has a record of, foreign ones too.</summary>
    public IReadOnlyList<CheckpointRecord> Records { get; }

    /// <summary>Their names.</summary>
    public IReadOnlySet<string> Checkpoints { get; }

    /// <summary>Per disk name, its newest committed state.</summary>
    public IReadOnlyDictionary<string, PreviousDisk> PreviousDisks { get; }

    public static async Task<Lineage> ReadAsync(
        IHypervisor hypervisor, RepositorySession repository, Machine machine, CancellationToken cancellationToken)
    {
        var newest = new Dictionary<string, (RestorePoint Point, PointDisk Disk)>(StringComparer.Ordinal);
        var points = await repository.PointsOfAsync(machine.Uuid, cancellationToken);
        foreach (var point in points.Where(point => point.Copied is null)) // a copied point knows nothing of this machine's bitmaps
        {
            foreach (var disk in point.Disks)
                newest[disk.Name] = (point, disk);
        }

        var records = await hypervisor.CheckpointsAsync(machine.Uuid, cancellationToken);
        return new Lineage(hypervisor, repository, machine, records, newest);
    }

    /// <summary>The points that a run over these disks inherits from.</summary>
    public IReadOnlyList<RestorePoint> BasesOf(IEnumerable<DiskPlan> disks) =>
        disks.Where(plan => plan.Previous is not null).Select(plan => _newest[plan.Disk.Name].Point).DistinctBy(point => point.Id).ToList();

    /// <summary>The tree a disk inherits from, or is compared with; null when it has none, or one of another chunk size.</summary>
    public TreeRef? OriginOf(DiskPlan plan) =>
        plan.Previous is not null && _newest[plan.Disk.Name].Disk is var newest && newest.ChunkLog2 == plan.ChunkLog2 ? newest.Tree : null;

    /// <summary>
    /// Removes our checkpoints whose runs never committed, from wherever they came (a run that died on another host, say).
    /// The tombstone comes first: a run that could still commit must not lose its checkpoint.
    /// </summary>
    public async Task DropDeadAsync(CancellationToken cancellationToken)
    {
        foreach (var (name, run) in Ours())
        {
            if (_newest.Values.Any(newest => newest.Disk.Checkpoint == name))
                continue;
            if (await _repository.FenceAsync(_machine.Uuid, run, cancellationToken) == RunFate.Revoked)
                await _hypervisor.DeleteCheckpointAsync(_machine.Uuid, name, cancellationToken);
        }
    }

    /// <summary>After a commit: removes our checkpoints that no disk's newest point needs any more.</summary>
    public async Task ReleaseAsync(RestorePoint committed)
    {
        foreach (var disk in committed.Disks)
            _newest[disk.Name] = (committed, disk);
        var present = _machine.Disks.Select(disk => disk.Name).ToHashSet(StringComparer.Ordinal);
        var needed = _newest.Where(pair => present.Contains(pair.Key))
            .Select(pair => pair.Value.Disk.Checkpoint).ToHashSet(StringComparer.Ordinal);
        foreach (var (name, _) in Ours())
        {
            if (!needed.Contains(name))
                await _hypervisor.DeleteCheckpointAsync(_machine.Uuid, name, CancellationToken.None);
        }
    }

    // By record or by bitmap alone: a machine that was defined anew has lost its records, and the bitmaps would stay for ever.
    private IEnumerable<(string Name, Guid Run)> Ours()
    {
        foreach (var text in Checkpoints.Union(_machine.Disks.SelectMany(disk => disk.Bitmaps.Keys), StringComparer.Ordinal))
        {
            if (CheckpointName.TryParse(text, out var name) && name.Value.Repository == _repository.Part)
                yield return (text, name.Value.Run);
        }
    }
}
