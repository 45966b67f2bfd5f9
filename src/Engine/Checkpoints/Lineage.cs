// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
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
    private readonly RecordHomes? _homes;
    private readonly Dictionary<string, (RestorePoint Point, PointDisk Disk)> _newest;
    private readonly IReadOnlyDictionary<RunId, RestorePoint> _points;
    private readonly HealingPlan _healing;
    private readonly HashSet<string> _checkpoints;
    private Machine _machine;

    private Lineage(
        IHypervisor hypervisor,
        RepositorySession repository,
        Machine machine,
        RecordHomes? homes,
        IReadOnlyList<CheckpointRecord> records,
        IReadOnlyList<CheckpointRecord> written,
        IReadOnlyList<RestorePoint> points,
        Dictionary<string, (RestorePoint Point, PointDisk Disk)> newest)
    {
        _hypervisor = hypervisor;
        _repository = repository;
        _machine = machine;
        _homes = homes;
        Points = points;
        _points = points.Where(point => point.Copied is null).ToDictionary(point => point.Id);
        _newest = newest;
        _checkpoints = records.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        PreviousDisks = newest.ToDictionary(pair => pair.Key, pair => Previous(pair.Key), StringComparer.Ordinal);
        // Of two that describe one checkpoint this host's own word counts, which knows its parent as the hypervisor had it.
        _healing = HealingPlan.Make(machine, records, PreviousDisks, InPoints().Concat(written));
    }

    /// <summary>The machine's points, copied ones too, oldest first.</summary>
    public IReadOnlyList<RestorePoint> Points { get; }

    /// <summary>Every checkpoint that the hypervisor has a record of, foreign ones too.</summary>
    public IReadOnlySet<string> Checkpoints => _checkpoints;

    /// <summary>The same once <see cref="HealAsync"/> is done, if nothing goes wrong.</summary>
    public IReadOnlySet<string> AfterHealing =>
        _checkpoints.Except(_healing.Forget, StringComparer.Ordinal)
            .Concat(_healing.Redefine.Select(record => record.Name)).ToHashSet(StringComparer.Ordinal);

    /// <summary>Per disk name, the committed state its next backup starts from: the newest, or the one that this names as its
    /// base.</summary>
    public IReadOnlyDictionary<string, PreviousDisk> PreviousDisks { get; }

    /// <param name="hypervisor">The machine's.</param>
    /// <param name="repository">Whose lineage.</param>
    /// <param name="machine">The machine.</param>
    /// <param name="points">Its points that are not deleted, oldest first, as the repository tells them.</param>
    /// <param name="homes">Where else its checkpoints are written down; null to do without.</param>
    /// <param name="tell">Told of what cannot be read there.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static async Task<Lineage> ReadAsync(
        IHypervisor hypervisor,
        RepositorySession repository,
        Machine machine,
        IReadOnlyList<RestorePoint> points,
        RecordHomes? homes,
        Action<string> tell,
        CancellationToken cancellationToken)
    {
        var newest = new Dictionary<string, (RestorePoint Point, PointDisk Disk)>(StringComparer.Ordinal);
        points = PointMarks.Mark(points);
        // A copied point knows nothing of this machine's bitmaps.
        var own = points.Where(point => point.Copied is null).ToList();
        foreach (var point in own)
        {
            foreach (var disk in point.Disks)
                newest[disk.Name] = (point, disk);
        }

        var bases = own.SelectMany(point => point.Disks).Select(disk => disk.Checkpoint).OfType<string>().ToHashSet(StringComparer.Ordinal);
        machine = await BusyBitmaps.WaitAsync(hypervisor, machine, bases, cancellationToken);
        var records = await hypervisor.CheckpointsAsync(machine.Uuid, cancellationToken);
        var written = homes is null ? [] : await homes.ReadAsync(tell, cancellationToken);
        return new Lineage(hypervisor, repository, machine, homes, records, written, points, newest);
    }

    /// <summary>The points that a run inherits from.</summary>
    public IReadOnlyList<RestorePoint> BasesOf(IEnumerable<DiskPlan> plans) =>
        plans.Where(plan => plan.Previous is not null).Select(plan => Origin(plan).Point).DistinctBy(point => point.Id).ToList();

    /// <summary>The tree a disk inherits from, or is compared with; null when it has none, or one of another chunk size.</summary>
    public TreeRef? OriginOf(DiskPlan plan) =>
        plan.Previous is not null && Origin(plan).Disk is var disk && disk.ChunkLog2 == plan.ChunkLog2 ? disk.Tree : null;

    /// <summary>
    /// Makes the hypervisor's records fit the bitmaps again, and removes what runs left that never committed. What was done is told in
    /// plain words. Returns the machine as it is after that.
    /// </summary>
    public async Task<Machine> HealAsync(Action<string> tell, CancellationToken cancellationToken)
    {
        // Of a machine that is off only records can be told again: its images are read, never written.
        var runs = _machine.State != MachineState.Off;
        if (runs)
            await DropDeadAsync(tell, cancellationToken);
        foreach (var name in runs ? _healing.Forget : [])
        {
            await _hypervisor.ForgetCheckpointAsync(_machine.Uuid, name, cancellationToken);
            _checkpoints.Remove(name);
            tell($"No disk has the bitmap of checkpoint '{name}' any more: the hypervisor's record of it was dropped.");
        }

        foreach (var record in _healing.Redefine)
            await RedefineAsync(record, tell, cancellationToken);
        return _machine;
    }

    /// <summary>Our checkpoints as they are once a run has committed, with the one it made.</summary>
    public IReadOnlyList<CheckpointRecord> Next(BackupPlan plan, string? checkpoint, DateTimeOffset time)
    {
        // Of a stopped machine, a disk goes on from the checkpoint that its changes were read from.
        var replaced = plan.Disks.Where(disk => disk.Track || !disk.IsIncremental)
            .Select(disk => disk.Disk.Name).ToHashSet(StringComparer.Ordinal);
        var kept = CheckpointTree.Mend(InPoints().Where(record =>
            _checkpoints.Contains(record.Name) && record.Disks.Any(disk => !replaced.Contains(disk.Name)))).Records;
        return checkpoint is null ? kept :
        [
            .. kept,
            new CheckpointRecord
            {
                Name = checkpoint,
                Created = DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds()),
                Parent = kept.Count > 0 ? kept[^1].Name : null,
                Disks = plan.Disks.Where(disk => disk.Track)
                    .Select(disk => new TrackedDisk(disk.Disk.Name, disk.Disk.Identity, disk.Disk.Size)).ToList(),
            },
        ];
    }

    /// <summary>
    /// After a commit: removes our checkpoints that no disk's newest point needs any more, and writes down those that stay. What does
    /// not work is told, and done by the next run.
    /// </summary>
    public async Task ReleaseAsync(RestorePoint committed, Action<string> tell)
    {
        foreach (var disk in committed.Disks)
            _newest[disk.Name] = (committed, disk);
        // A disk that can't be backed up for now (the machine may only read it, say) still has its bitmap.
        var present = _machine.Disks.Select(disk => disk.Name).Concat(_machine.NotProtected.Select(disk => disk.Name))
            .ToHashSet(StringComparer.Ordinal);
        var needed = _newest.Keys.Where(present.Contains).Select(disk => BaseOf(disk).Disk.Checkpoint).ToHashSet(StringComparer.Ordinal);
        foreach (var (name, _) in Ours().Where(ours => !needed.Contains(ours.Name)))
        {
            try
            {
                await _hypervisor.DeleteCheckpointAsync(_machine.Uuid, name, CancellationToken.None);
            }
            catch (EngineException e)
            {
                tell($"Checkpoint '{name}', which is not needed any more, is left to the next backup: {e.Message}");
            }
        }

        if (_homes is null)
            return;
        var known = await _hypervisor.CheckpointsAsync(_machine.Uuid, CancellationToken.None);
        var definition = await _hypervisor.OpenDefinitionAsync(_machine.Uuid, CancellationToken.None);
        await _homes.WriteAsync(
            _machine, known, InPoints().ToList(), PointDocuments.Record(committed)?.Name, definition, tell, CancellationToken.None);
    }

    // What the points that the next backups start from say of the checkpoints made with them.
    private IEnumerable<CheckpointRecord> InPoints() =>
        _newest.Keys.Select(disk => BaseOf(disk).Point).DistinctBy(point => point.Id).OrderBy(point => point.Seq)
            .Select(PointDocuments.Record).OfType<CheckpointRecord>();

    private async Task RedefineAsync(CheckpointRecord record, Action<string> tell, CancellationToken cancellationToken)
    {
        var what = $"The hypervisor had lost its record of checkpoint '{record.Name}'";
        try
        {
            var parent = record.Parent is { } name && _checkpoints.Contains(name) ? name : null;
            await _hypervisor.RedefineCheckpointAsync(_machine.Uuid, record with { Parent = parent }, cancellationToken);
            _checkpoints.Add(record.Name);
            tell($"{what}; its bitmaps are whole ({string.Join(", ", record.Disks.Select(disk => disk.Name))}), so it was told again.");
        }
        catch (CheckpointUnusableException e)
        {
            tell($"{what}, and does not take it back: {e.Message}");
            _machine = _machine.WithBitmaps(record.Disks.Select(disk => disk.Name).ToHashSet(StringComparer.Ordinal), e.Health);
        }
        catch (EngineException e) when (e.Kind != FailureKind.Busy)
        {
            tell($"{what}, and does not take it back: {e.Message}");
        }
    }

    // Removes our checkpoints whose runs never committed, from wherever they came (a run that died on another host, say). The
    // tombstone comes first: a run that could still commit must not lose its checkpoint.
    private async Task DropDeadAsync(Action<string> tell, CancellationToken cancellationToken)
    {
        foreach (var (name, run) in Ours().ToList())
        {
            if (_newest.Keys.Any(disk => BaseOf(disk).Disk.Checkpoint == name))
                continue;
            if (await _repository.FenceAsync(_machine.Uuid, run, cancellationToken) != RunFate.Revoked)
                continue;
            await _hypervisor.DeleteCheckpointAsync(_machine.Uuid, name, cancellationToken);
            _checkpoints.Remove(name);
            tell($"Checkpoint '{name}' of a backup that never finished was removed.");
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

    // An image below may be another machine's disk, a template, and its bitmaps that one's: it is ours where a backup saw it on top.
    private IEnumerable<string> OwnBitmaps(MachineDisk disk)
    {
        var tops = _points.Values.SelectMany(point => point.Disks).Where(found => found.Name == disk.Name)
            .Select(found => ImageDocuments.ReadImage(found.Identity)).OfType<ImageIdentity>().Distinct().ToList();
        return disk.Backing.Where(image => image.Identity is { } own && tops.Any(own.IsSameImageAs))
            .SelectMany(image => image.Bitmaps.Keys).Concat(disk.Bitmaps.Keys);
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
        foreach (var text in _checkpoints.Union(_machine.Disks.SelectMany(OwnBitmaps), StringComparer.Ordinal))
        {
            if (CheckpointName.TryParse(text, out var name) && name.Value.Repository == _repository.Part)
                yield return (text, name.Value.Run);
        }
    }
}
