// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

public abstract record LibvirtEvent;

/// <summary>The connection broke; nothing more comes until it is reopened.</summary>
public sealed record ConnectionLostEvent(CloseReason Reason) : LibvirtEvent;

/// <summary>The connection is back; what happened in between was not seen.</summary>
public sealed record ConnectionReopenedEvent : LibvirtEvent;

public abstract record DomainEvent(Guid Uuid, string Name) : LibvirtEvent;

/// <summary>
/// <paramref name="Detail"/> is the number libvirt defines per change; <see cref="IsIoErrorPause"/> names the one a backup must watch.
/// </summary>
public sealed record LifecycleEvent(Guid Uuid, string Name, LifecycleChange Change, int Detail) : DomainEvent(Uuid, Name)
{
    /// <summary>The guest was paused because a disk, or the scratch of a backup, failed or is full.</summary>
    public bool IsIoErrorPause => Change == LifecycleChange.Suspended && Detail == 2; // VIR_DOMAIN_EVENT_SUSPENDED_IOERROR
}

/// <summary>
/// A disk error; source and device are empty when a backup's scratch is full. <paramref name="Reason"/> is "enospc" then.
/// </summary>
public sealed record IoErrorEvent(Guid Uuid, string Name, string SourcePath, string DeviceAlias, IoErrorAction Action, string Reason)
    : DomainEvent(Uuid, Name);

public sealed record BlockJobEvent(Guid Uuid, string Name, string Disk, BlockJobType Type, BlockJobStatus Status) : DomainEvent(Uuid, Name);

public sealed record AgentLifecycleEvent(Guid Uuid, string Name, bool Connected) : DomainEvent(Uuid, Name);

/// <summary>A job ended. For a pull backup success and abort look the same; only a dead QEMU says success=false.</summary>
public sealed record JobCompletedEvent(Guid Uuid, string Name, JobStats Stats) : DomainEvent(Uuid, Name);

/// <summary>More than <paramref name="Threshold"/> bytes of a node (<c>vda[5]</c>) are written. It fires once: set the next one.</summary>
public sealed record BlockThresholdEvent(Guid Uuid, string Name, string Device, string Path, long Threshold, long Excess)
    : DomainEvent(Uuid, Name);

public enum LifecycleChange
{
    Defined = 0, // VIR_DOMAIN_EVENT_DEFINED
    Undefined = 1,
    Started = 2,
    Suspended = 3,
    Resumed = 4,
    Stopped = 5,
    Shutdown = 6,
    PowerManagementSuspended = 7, // VIR_DOMAIN_EVENT_PMSUSPENDED
    Crashed = 8,
}

public enum IoErrorAction
{
    None = 0, // VIR_DOMAIN_EVENT_IO_ERROR_NONE
    Pause = 1,
    Report = 2,
}

public enum BlockJobType
{
    Unknown = 0, // VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN
    Pull = 1,
    Copy = 2,
    Commit = 3,
    ActiveCommit = 4,
    Backup = 5,
}

public enum BlockJobStatus
{
    Completed = 0, // VIR_DOMAIN_BLOCK_JOB_COMPLETED
    Failed = 1,
    Canceled = 2,
    Ready = 3,
}
