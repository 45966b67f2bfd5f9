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
    private readonly IReadOnlyDictionary<RunId, RestorePoint> _points;

    private Lineage(
        IHypervisor hypervisor,
        RepositorySession repository,
        Machine machine,
        IReadOnlyList<CheckpointRecord> records,
        IReadOnlyDictionary<RunId, RestorePoint> points,
        Dictionary<string, (RestorePoint Point, PointDisk Disk)> newest)
    {
        _hypervisor = hypervisor;
        _repository = repository;
        _machine = machine;
        _points = points;
        _newest = newest;
        Records = records;
        Checkpoints = records.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        PreviousDisks = newest.ToDictionary(pair => pair.Key, pair => Previous(pair.Key), StringComparer.Ordinal);
    }

    /// <summary>Every checkpoint that the hypervisor has a record of, foreign ones too.</summary>
    public IReadOnlyList<CheckpointRecord> Records { get; }

    /// <summary>Their names.</summary>
    public IReadOnlySet<string> Checkpoints { get; }

    /// <summary>Per disk name, the committed state that its next backup starts from: the newest, or the one that names as its base.</summary>
    public IReadOnlyDictionary<string, PreviousDisk> PreviousDisks { get; }

    public static async Task<Lineage> ReadAsync(
        IHypervisor hypervisor, RepositorySession repository, Machine machine, CancellationToken cancellationToken)
    {
        var newest = new Dictionary<string, (RestorePoint Point, PointDisk Disk)>(StringComparer.Ordinal);
        // A copied point knows nothing of this machine's bitmaps.
        var points = (await repository.PointsOfAsync(machine.Uuid, cancellationToken)).Where(point => point.Copied is null).ToList();
        foreach (var point in points)
        {
            foreach (var disk in point.Disks)
                newest[disk.Name] = (point, disk);
        }

        var records = await hypervisor.CheckpointsAsync(machine.Uuid, cancellationToken);
        return new Lineage(hypervisor, repository, machine, records, points.ToDictionary(point => point.Id), newest);
    }

    /// <summary>The points that a run inherits from.</summary>
    public IReadOnlyList<RestorePoint> BasesOf(IEnumerable<DiskPlan> plans) =>
        plans.Where(plan => plan.Previous is not null).Select(plan => Origin(plan).Point).DistinctBy(point => point.Id).ToList();

    /// <summary>The tree a disk inherits from, or is compared with; null when it has none, or one of another chunk size.</summary>
    public TreeRef? OriginOf(DiskPlan plan) =>
        plan.Previous is not null && Origin(plan).Disk is var disk && disk.ChunkLog2 == plan.ChunkLog2 ? disk.Tree : null;

    /// <summary>
    /// Removes our checkpoints whose runs never committed, from wherever they came (a run that died on another host, say).
    /// The tombstone comes first: a run that could still commit must not lose its checkpoint.
    /// </summary>
    public async Task DropDeadAsync(CancellationToken cancellationToken)
    {
        foreach (var (name, run) in Ours())
        {
            if (_newest.Keys.Any(disk => BaseOf(disk).Disk.Checkpoint == name))
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
        var needed = _newest.Keys.Where(present.Contains).Select(disk => BaseOf(disk).Disk.Checkpoint).ToHashSet(StringComparer.Ordinal);
        foreach (var (name, _) in Ours())
        {
            if (!needed.Contains(name))
                await _hypervisor.DeleteCheckpointAsync(_machine.Uuid, name, CancellationToken.None);
        }
    }

    // A point of a stopped machine made no checkpoint of its own. Of what changed since the checkpoint of the point that it names as its
    // base, nothing is forgotten: from that point and that checkpoint the next backup starts, and of the newer point it takes nothing.
    private (RestorePoint Point, PointDisk Disk) BaseOf(string disk)
    {
        var newest = _newest[disk];
        return PointDocuments.BaseRun(newest.Point, newest.Disk) is { } run
            && _points.TryGetValue(run, out var point)
            && point.Disks.FirstOrDefault(found => found.Name == disk) is { } found
            && PointDocuments.IsOwn(found.Checkpoint, point)
                ? (point, found)
                : newest;
    }

    private PreviousDisk Previous(string disk)
    {
        var (point, details) = BaseOf(disk);
        return PointDocuments.Previous(point, details);
    }

    // What a full read is compared with decides nothing: the newest is the most alike.
    private (RestorePoint Point, PointDisk Disk) Origin(DiskPlan plan) =>
        plan.IsIncremental ? BaseOf(plan.Disk.Name) : _newest[plan.Disk.Name];

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
