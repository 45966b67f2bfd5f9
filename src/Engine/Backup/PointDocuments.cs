// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>Between what the engine knows of a run and what a restore point keeps of it.</summary>
internal static class PointDocuments
{
    private const string Incremental = "incremental";
    private static readonly string OfflineWord = Word(Consistency.Offline);

    public static PointDisk Details(DiskPlan plan, string? checkpoint, long readBytes) => new()
    {
        Mode = plan.IsIncremental ? Incremental : "full",
        Reason = plan.Reason,
        Base = plan.Previous?.Run.ToString("n"),
        Checkpoint = checkpoint,
        ReadBytes = readBytes,
        Serial = plan.Disk.Serial,
        Kind = plan.Disk.Kind,
        Format = new Dictionary<string, string>(StringComparer.Ordinal) { ["type"] = plan.Disk.Format },
        Identity = ImageDocuments.Write(plan.Disk),
        Backing = plan.Disk.Backing.Count == 0
            ? null
            : plan.Disk.Backing.Select(image => ImageDocuments.Write(image.Identity) ?? []).ToList(),
    };

    public static PreviousDisk Previous(RestorePoint point, PointDisk disk) => new()
    {
        Run = point.Id.Value,
        Time = point.Time,
        Checkpoint = IsOwn(disk.Checkpoint, point) ? disk.Checkpoint : null,
        Identity = ImageDocuments.ReadImage(disk.Identity),
        Backing = disk.Backing?.Select(ImageDocuments.ReadImage).ToList() ?? [],
        DataFile = ImageDocuments.ReadDataFile(disk.Identity),
        Size = disk.Size,
        ChunkLog2 = disk.ChunkLog2,
        WhyUntracked = WhyUntracked(point, disk),
        Domain = point.Domain,
        WasFull = disk.Mode == "full",
        Seq = point.Seq,
        Audit = disk.Audit,
        Suspects = disk.Suspects,
        Doubt = disk.Doubt,
    };

    public static PointCheckpoints Records(IEnumerable<CheckpointRecord> records, string? current) => new(
        current,
        records.Select(record => new PointCheckpoint(
            record.Name,
            record.Created,
            record.Parent,
            record.Disks.Select(disk =>
                new PointCheckpointDisk(disk.Name, disk.Size, ImageDocuments.Write(disk.Identity))).ToList())).ToList());

    /// <summary>
    /// What a point says of the checkpoint made with it, which is the only one it is believed for; nothing when none was. Points of
    /// older versions have no records, but all that a record needs.
    /// </summary>
    public static CheckpointRecord? Record(RestorePoint point)
    {
        var tracked = point.Disks.Where(disk => IsOwn(disk.Checkpoint, point)).ToList();
        if (tracked.Count == 0)
            return null;
        var name = tracked[0].Checkpoint!;
        var noted = point.Checkpoints?.Records.FirstOrDefault(record => record.Name == name);
        return new CheckpointRecord
        {
            Name = name,
            Created = noted?.Created ?? point.Time,
            Parent = noted?.Parent,
            Disks = tracked.Select(disk => new TrackedDisk(disk.Name, ImageDocuments.ReadImage(disk.Identity), disk.Size)).ToList(),
        };
    }

    /// <summary>The run of the point whose checkpoint a disk's changes were read from, if it made none of its own; else null.</summary>
    public static RunId? BaseRun(RestorePoint point, PointDisk disk) =>
        !IsOwn(disk.Checkpoint, point) && disk.Mode == Incremental && Guid.TryParseExact(disk.Base, "n", out var run)
            ? new RunId(run)
            : null;

    /// <summary>Runs of the points that the newest state of some machine's disk names in its stead.</summary>
    public static IReadOnlySet<RunId> BasesOf(IEnumerable<RestorePoint> points)
    {
        var newest = new Dictionary<(MachineId, string), RunId?>();
        foreach (var point in points.Where(point => point.Copied is null).OrderBy(point => point.Order))
        {
            foreach (var disk in point.Disks)
                newest[(point.MachineId, disk.Name)] = BaseRun(point, disk);
        }

        return newest.Values.OfType<RunId>().ToHashSet();
    }

    private static string? WhyUntracked(RestorePoint point, PointDisk disk) =>
        IsOwn(disk.Checkpoint, point) ? null
        : BaseRun(point, disk) is not null ? "the machine was off at the last backup, and the backup that its changes count from is gone"
        : point.Consistency == OfflineWord ? "the machine was off at the last backup, so nothing tracks what changed since"
        : null;

    // A checkpoint is named after the run that made it. A point that claims another run's could have been put there to make the next
    // backup inherit from it: it is no base.
    public static bool IsOwn(string? checkpoint, RestorePoint point) =>
        checkpoint is not null && CheckpointName.TryParse(checkpoint, out var name) && name.Value.Run == point.Id.Value;

    internal static RestorePointDraft Draft(
        Machine machine,
        BackupPlan plan,
        IFrozenPoint frozen,
        StoredDefinition definition,
        IReadOnlyList<DraftDisk> disks,
        IReadOnlyDictionary<string, string> tags,
        IReadOnlyList<string> warnings) => new()
        {
            Name = machine.Name,
            Uuid = machine.Uuid,
            Host = machine.Host,
            Time = frozen.Time,
            Consistency = Word(frozen.Consistency),
            Tags = tags.Select(tag => $"{tag.Key}={tag.Value}").ToList(),
            DomainXml = definition.Xml,
            Disks = disks,
            Files = definition.Files,
            NotProtected = plan.NotProtected.Select(disk => new NotProtected(disk.Name, disk.Reason)).ToList(),
            Warnings = [.. warnings],
        };

    private static string Word(Consistency consistency) => consistency.ToString().ToLowerInvariant();
}
