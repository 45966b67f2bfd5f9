// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

/// <summary>A job of a domain and its numbers under libvirt's names; integers are long, others double, bool or string.</summary>
public sealed record JobStats(JobType Type, IReadOnlyDictionary<string, object> Values)
{
    public bool IsActive => Type is JobType.Bounded or JobType.Unbounded;

    public JobOperation Operation => (JobOperation)(Number("operation") ?? 0);

    /// <summary>Since the job, or the daemon that serves it, started.</summary>
    public TimeSpan? Elapsed => Number("time_elapsed") is { } milliseconds ? TimeSpan.FromMilliseconds(milliseconds) : null;

    /// <summary>Bytes a pull backup has put aside because the guest overwrote them, zeros included.</summary>
    public long? ScratchUsed => Number("disk_temp_used");

    public long? ScratchTotal => Number("disk_temp_total");

    public bool? Success => Values.TryGetValue("success", out var value) ? value as bool? : null;

    public string? ErrorMessage => Values.TryGetValue("errmsg", out var value) ? value as string : null;

    private long? Number(string name) => Values.TryGetValue(name, out var value) ? value as long? : null;
}

public enum JobType
{
    None = 0, // VIR_DOMAIN_JOB_NONE
    Bounded = 1,
    Unbounded = 2, // a pull backup
    Completed = 3,
    Failed = 4,
    Cancelled = 5,
}

public enum JobOperation
{
    Unknown = 0, // VIR_DOMAIN_JOB_OPERATION_UNKNOWN
    Start = 1,
    Save = 2,
    Restore = 3,
    MigrationIn = 4,
    MigrationOut = 5,
    Snapshot = 6,
    SnapshotRevert = 7,
    Dump = 8,
    Backup = 9,
    SnapshotDelete = 10,
}
