// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Machines;

/// <summary>How hard to try to freeze the guest's file systems around the frozen point.</summary>
public enum Quiesce
{
    /// <summary>Freeze when an agent answers, say so when it does not.</summary>
    Auto,

    /// <summary>No frozen point without a freeze.</summary>
    Require,

    /// <summary>Do not freeze.</summary>
    Off,
}

/// <summary>What a frozen point is worth to the guest that later boots from it.</summary>
public enum Consistency
{
    /// <summary>As after a power cut.</summary>
    Crash,

    /// <summary>File systems were frozen.</summary>
    Filesystem,

    /// <summary>The machine was off: as it will find its disks when it starts.</summary>
    Offline,
}

/// <summary>
/// The port to a hypervisor: machines, their checkpoints, and frozen points. All calls may be made from any thread; they
/// throw <see cref="EngineException"/> for what a user can act on.
/// </summary>
public interface IHypervisor : IAsyncDisposable
{
    /// <summary>The connection as a child process must open it again; null is the default one.</summary>
    string? Connect { get; }

    /// <summary>What its machines are called, without a look at any of them.</summary>
    Task<IReadOnlyList<KnownMachine>> NamesAsync(CancellationToken cancellationToken);

    /// <summary>What the machine with this name or UUID is called; null when there is none.</summary>
    Task<KnownMachine?> LookUpAsync(string nameOrUuid, CancellationToken cancellationToken);

    Task<IReadOnlyList<Machine>> ListAsync(CancellationToken cancellationToken);

    /// <summary>The machine with this name or UUID; null when there is none.</summary>
    Task<Machine?> FindAsync(string nameOrUuid, CancellationToken cancellationToken);

    /// <summary>All there is to a machine besides its disks: definition, NVRAM, TPM state, boot files.</summary>
    Task<MachineDefinition> DefinitionAsync(Machine machine, CancellationToken cancellationToken);

    /// <summary>The machine's definition as text, without passwords: for where people look who may not read backups.</summary>
    Task<string> OpenDefinitionAsync(string machineUuid, CancellationToken cancellationToken);

    /// <summary>The checkpoints the hypervisor has a record of, foreign ones too, parents first; images and sizes are not noted.</summary>
    Task<IReadOnlyList<CheckpointRecord>> CheckpointsAsync(string machineUuid, CancellationToken cancellationToken);

    /// <summary>
    /// Tells the hypervisor of a checkpoint whose bitmaps exist already; on a machine that runs they are checked. Its parent must be
    /// known. A record of the same name is replaced.
    /// </summary>
    /// <exception cref="CheckpointUnusableException">A bitmap is missing or broken on one of the disks.</exception>
    Task RedefineCheckpointAsync(string machineUuid, CheckpointRecord checkpoint, CancellationToken cancellationToken);

    /// <summary>Drops the hypervisor's record of a checkpoint and leaves every bitmap alone; nothing happens when there is none.</summary>
    Task ForgetCheckpointAsync(string machineUuid, string checkpoint, CancellationToken cancellationToken);

    /// <summary>
    /// Freezes the guest if asked, begins the frozen point and the new checkpoint in one transaction, thaws. Of a machine that is off,
    /// the images are opened as they are; it can make no checkpoint.
    /// </summary>
    Task<IFrozenPoint> FreezeAsync(FreezeRequest request, CancellationToken cancellationToken);

    /// <summary>Removes a checkpoint of ours and its bitmaps; nothing happens when it is gone already.</summary>
    Task DeleteCheckpointAsync(string machineUuid, string checkpoint, CancellationToken cancellationToken);

    /// <summary>Thaws the guest. True: the agent confirmed it, or no guest runs. False: no answer within the time.</summary>
    Task<bool> ThawAsync(string machineUuid, TimeSpan limit, CancellationToken cancellationToken);

    /// <summary>
    /// Ends whatever serves from <paramref name="folder"/>: the backup job, if that very job is active, waking a guest that it left
    /// paused, or the process that reads a stopped machine's images. Waits until it is over.
    /// </summary>
    Task EndJobAsync(string machineUuid, string folder, CancellationToken cancellationToken);

    /// <summary>Defines a machine that must not exist yet; returns its UUID.</summary>
    Task<string> DefineAsync(string xml, CancellationToken cancellationToken);

    Task StartAsync(string machineUuid, CancellationToken cancellationToken);

    /// <summary>Folder in which the hypervisor keeps the state of a machine's emulated TPM.</summary>
    string TpmFolder(string machineUuid);
}

/// <summary>One disk of a frozen point to be.</summary>
/// <param name="Name">The disk.</param>
/// <param name="Base">Checkpoint whose changes are wanted; null when the disk is read in full.</param>
/// <param name="Track">The new checkpoint covers this disk.</param>
public sealed record FreezeDisk(string Name, string? Base, bool Track);

/// <summary>What to freeze and how.</summary>
public sealed record FreezeRequest
{
    public required Machine Machine { get; init; }

    public required IReadOnlyList<FreezeDisk> Disks { get; init; }

    /// <summary>Name of the new checkpoint; null when no disk is tracked.</summary>
    public required string? Checkpoint { get; init; }

    /// <summary>Existing folder for the socket and the scratch files, made ready for the hypervisor's user.</summary>
    public required string Folder { get; init; }

    public required Quiesce Quiesce { get; init; }

    /// <summary>Called as each step is reached, before the next one is tried.</summary>
    public required Func<RunStep, Task> Reached { get; init; }

    /// <summary>Called just before the freeze command is sent, and when a freeze is known to be over.</summary>
    public required Func<FreezeState, Task> FreezeChanged { get; init; }
}

/// <summary>What is known of the guest's file systems during a run.</summary>
public enum FreezeState
{
    /// <summary>A freeze was sent: whatever the answer, the guest counts as frozen.</summary>
    MayBeFrozen,

    /// <summary>The agent confirmed the thaw.</summary>
    Thawed,
}

/// <summary>
/// All chosen disks of a machine at one instant. Ending it (or disposing it) closes every connection first and then ends the
/// hypervisor's job; scratch files go with it.
/// </summary>
public interface IFrozenPoint : IAsyncDisposable
{
    /// <summary>The instant, by this host's clock.</summary>
    DateTimeOffset Time { get; }

    Consistency Consistency { get; }

    /// <summary>What went less well than asked, in plain words.</summary>
    IReadOnlyList<string> Warnings { get; }

    /// <summary>A freeze was sent and no thaw is confirmed yet.</summary>
    bool ThawOwed { get; }

    /// <summary>Cancelled when the frozen point can no longer be trusted; <see cref="VoidReason"/> says why.</summary>
    CancellationToken Voided { get; }

    string? VoidReason { get; }

    /// <summary>Opens the exports. To be called once, soon after the freeze.</summary>
    Task ConnectAsync(CancellationToken cancellationToken);

    /// <summary>A disk of the connected frozen point.</summary>
    IFrozenDisk Disk(string name);

    /// <summary>Closes the connections and ends the job; throws when the job was not alive until now.</summary>
    Task EndAsync(CancellationToken cancellationToken);

    /// <summary>
    /// The last look before the commit, after everything that belongs to the point was read: throws when it is void after all.
    /// </summary>
    Task ConfirmAsync(CancellationToken cancellationToken);
}

/// <summary>A disk of a frozen point.</summary>
public interface IFrozenDisk
{
    IBlockSource Source { get; }

    /// <summary>Ranges written since the disk's base checkpoint, in order; only where there is one.</summary>
    IAsyncEnumerable<ByteRange> ChangedAsync(CancellationToken cancellationToken);
}

/// <summary>A machine without its disks.</summary>
/// <param name="Xml">The definition as the hypervisor will start it next.</param>
/// <param name="Files">NVRAM, TPM state and boot files.</param>
/// <param name="Warnings">What could not be read, in plain words.</param>
public sealed record MachineDefinition(string Xml, IReadOnlyList<MachineFile> Files, IReadOnlyList<string> Warnings);

/// <summary>A file that belongs to a machine.</summary>
/// <param name="Role"><c>nvram</c>, <c>tpm</c>, <c>kernel</c>, <c>initrd</c> or <c>dtb</c>.</param>
/// <param name="Name">Path within the role's folder, with forward slashes; only the TPM state has several.</param>
/// <param name="Path">Where it lies on this host.</param>
public sealed record MachineFile(string Role, string Name, string Path);
