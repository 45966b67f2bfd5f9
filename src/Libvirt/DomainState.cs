// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

/// <summary>State of a domain; <paramref name="Reason"/> is the number libvirt defines for that state.</summary>
public readonly record struct DomainStatus(DomainState State, int Reason)
{
    /// <summary>A QEMU process exists.</summary>
    public bool IsActive => State is not (DomainState.ShutOff or DomainState.Crashed or DomainState.None);

    /// <summary>Its memory was saved when it stopped, to go on from there. libvirt forgets that when its daemon restarts.</summary>
    public bool IsSaved => State == DomainState.ShutOff && Reason == 5; // VIR_DOMAIN_SHUTOFF_SAVED

    /// <summary>Paused because a disk, or the scratch of a backup, failed or is full.</summary>
    public bool IsIoErrorPause => State == DomainState.Paused && Reason == 5; // VIR_DOMAIN_PAUSED_IOERROR
}

public enum DomainState
{
    None = 0, // VIR_DOMAIN_NOSTATE
    Running = 1,
    Blocked = 2,
    Paused = 3,
    ShuttingDown = 4, // VIR_DOMAIN_SHUTDOWN
    ShutOff = 5,
    Crashed = 6,
    PowerManagementSuspended = 7, // VIR_DOMAIN_PMSUSPENDED
}

[Flags]
public enum DomainXmlFlags
{
    None = 0,
    Secure = 1, // VIR_DOMAIN_XML_SECURE: with passwords
    Inactive = 2, // VIR_DOMAIN_XML_INACTIVE: as defined, not as running
    Migratable = 8, // VIR_DOMAIN_XML_MIGRATABLE
}

[Flags]
public enum DomainStartFlags
{
    None = 0,
    Paused = 1, // VIR_DOMAIN_START_PAUSED
}

[Flags]
public enum DomainUndefineFlags
{
    None = 0,
    ManagedSave = 1, // VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    SnapshotsMetadata = 2,
    Nvram = 4, // delete the NVRAM file
    KeepNvram = 8,
    CheckpointsMetadata = 16,
}

/// <summary>Which definition a device change goes to.</summary>
[Flags]
public enum DomainAffect
{
    Current = 0, // VIR_DOMAIN_AFFECT_CURRENT
    Live = 1,
    Configuration = 2,
}

/// <summary>Sizes of a disk in bytes: as the guest sees it, allocated in the image, and of the image file.</summary>
public readonly record struct BlockInfo(long Capacity, long Allocation, long Physical);

public readonly record struct DiskError(string Disk, DiskErrorKind Kind);

public enum DiskErrorKind
{
    None = 0, // VIR_DOMAIN_DISK_ERROR_NONE
    Unspecified = 1,
    NoSpace = 2,
}
