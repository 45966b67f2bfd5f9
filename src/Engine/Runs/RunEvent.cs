// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Runs;

/// <summary>The named steps of a backup run, in order. A process may die at any of them; tests make it do so.</summary>
public enum RunStep
{
    /// <summary>The machine's lock is held; leftovers of dead runs are gone.</summary>
    Recovered,

    /// <summary>The plan stands.</summary>
    Planned,

    /// <summary>The repository knows the run and its pins.</summary>
    Registered,

    /// <summary>The journal entry is on disk.</summary>
    Journaled,

    /// <summary>The guardian watches.</summary>
    Guarded,

    /// <summary>The guest's file systems are frozen (or freezing was left out).</summary>
    Frozen,

    /// <summary>The frozen point and the new checkpoint exist.</summary>
    Begun,

    /// <summary>The guest is thawed.</summary>
    Thawed,

    /// <summary>Every export is open.</summary>
    Connected,

    /// <summary>The first disk is read.</summary>
    FirstDiskRead,

    /// <summary>Every disk is read.</summary>
    AllDisksRead,

    /// <summary>The hypervisor's job is over, its scratch files are gone.</summary>
    Ended,

    /// <summary>Everything but the restore point is stored.</summary>
    Stored,

    /// <summary>The restore point exists.</summary>
    Committed,

    /// <summary>Checkpoints that no disk needs any more are gone.</summary>
    Released,

    /// <summary>The journal entry is gone.</summary>
    Cleared,
}

/// <summary>Something a run tells while it happens. Raised on the run's own threads: a receiver must not block.</summary>
public abstract record RunEvent(string Machine);

/// <summary>The run has reached a step.</summary>
public sealed record StepReached(string Machine, RunStep Step) : RunEvent(Machine);

/// <summary>How far a disk is. Bytes; <see cref="Total"/> is what will be looked at, not the disk's size; null when unknown.</summary>
public sealed record DiskProgress(string Machine, string Disk, long Done, long? Total) : RunEvent(Machine);

/// <summary>
/// Where a finished run spent its time, by stage of its pipeline, summed over threads: of stages that only compute, that is CPU time.
/// </summary>
public sealed record StagesMeasured(string Machine, IReadOnlyDictionary<string, TimeSpan> Stages) : RunEvent(Machine);

/// <summary>A sentence for the user that is no failure.</summary>
public sealed record Notice(string Machine, string Text) : RunEvent(Machine);
