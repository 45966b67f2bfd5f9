// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

[Flags]
public enum BackupBeginFlags
{
    None = 0,
    ReuseExternal = 1, // VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL: scratch files exist and are not deleted
}

[Flags]
public enum JobStatsFlags
{
    None = 0,
    Completed = 1, // VIR_DOMAIN_JOB_STATS_COMPLETED: of the last job, given once
    KeepCompleted = 2, // ... and kept for the next caller
}

public sealed partial class Domain
{
    /// <summary>The running job, or type <see cref="JobType.None"/>.</summary>
    public Task<JobStats> GetJobStatsAsync(JobStatsFlags flags = JobStatsFlags.None, CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the job of",
            (domain, what) => JobNative.GetJobStats(domain, (uint)flags) is { } job
                ? new JobStats((JobType)job.Type, job.Values)
                : throw LibvirtErrors.Create(what),
            cancellationToken);

    /// <summary>
    /// Ends the running job; the only way to end a pull backup. No NBD client may be in negotiation then, or QEMU hangs for good. The
    /// end is announced by <see cref="JobCompletedEvent"/>.
    /// </summary>
    /// <exception cref="LibvirtException">Code <see cref="LibvirtErrorCode.OperationInvalid"/>: there is no job.</exception>
    public Task AbortJobAsync(CancellationToken cancellationToken = default) =>
        CallAsync("abort the job of", (domain, what) => LibvirtErrors.Require(JobNative.Abort(domain), what), cancellationToken);

    /// <summary>
    /// Freezes the chosen disks at one instant and serves them over NBD; with a checkpoint document, tracks writes from the same
    /// instant on. A failure may leave the checkpoint behind: compare the lists.
    /// </summary>
    /// <exception cref="LibvirtBusyException">Another job held the machine for 30 s.</exception>
    /// <exception cref="LibvirtException">Code <see cref="LibvirtErrorCode.CheckpointInconsistent"/>: a bitmap is missing or
    /// broken.</exception>
    public Task BeginBackupAsync(
        string backupXml,
        string? checkpointXml,
        BackupBeginFlags flags = BackupBeginFlags.None,
        CancellationToken cancellationToken = default) =>
        CallAsync(
            "begin a backup of",
            (domain, what) => LibvirtErrors.Require(JobNative.BackupBegin(domain, backupXml, checkpointXml, (uint)flags), what),
            cancellationToken);

    /// <exception cref="LibvirtNotFoundException">No backup runs.</exception>
    public Task<string> GetBackupXmlAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "read the backup of",
            (domain, what) => LibvirtErrors.Require(JobNative.BackupGetXml(domain, 0), what),
            cancellationToken);
}
