// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Backup;

/// <summary>What every backup of one call shares.</summary>
public sealed record BackupContext
{
    public required IHypervisor Hypervisor { get; init; }

    public required RepositorySession Repository { get; init; }

    public required HostFolders Folders { get; init; }

    /// <summary>A folder with checkpoint records that hosts share; null for none.</summary>
    public string? CheckpointFolder { get; init; }

    /// <summary>Starts the guardians of its runs.</summary>
    public required Guardians Guardians { get; init; }

    /// <summary>Told what happens, on the run's own threads.</summary>
    public required Action<RunEvent> Observer { get; init; }
}
