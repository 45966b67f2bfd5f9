// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Restore;

/// <summary>What the user chose.</summary>
public sealed record RestoreOptions
{
    /// <summary>Folder for image files, absolute; needed unless every disk has a target of its own.</summary>
    public string? Folder { get; init; }

    /// <summary>Disks to restore; empty means all.</summary>
    public IReadOnlyList<RestoreDiskChoice> Disks { get; init; } = [];

    /// <summary><c>qcow2</c> or <c>raw</c>, for image files.</summary>
    public string Format { get; init; } = "qcow2";

    /// <summary>Overwrite what the targets hold.</summary>
    public bool Force { get; init; }

    /// <summary>Define a machine from the restored disks.</summary>
    public bool Define { get; init; }

    /// <summary>The machine's new name, which also means a new UUID and new MAC addresses; null keeps what it was.</summary>
    public string? Name { get; init; }

    public bool Start { get; init; }

    /// <summary>Define it whatever its definition asks of the host.</summary>
    public bool TrustDefinition { get; init; }
}

/// <summary>A disk and where it goes: a path, a block device or an NBD URI; null is a file in the folder.</summary>
public sealed record RestoreDiskChoice(string Name, string? Target);

/// <summary>What a restore did; the shape is part of the command-line contract.</summary>
/// <param name="Point">Id of the restore point.</param>
/// <param name="Disks">The restored disks.</param>
/// <param name="Defined">Name of the machine that was defined; null when none was.</param>
/// <param name="Started">It was started, too.</param>
/// <param name="Notes">What the definition lost or changed, one sentence each.</param>
public sealed record RestoreResult(
    string Point, IReadOnlyList<RestoredDiskResult> Disks, string? Defined, bool Started, IReadOnlyList<string> Notes)
{
    /// <summary>What is known to be less than it should be, one sentence each.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>What the restore asked of the store.</summary>
    public Repositories.Requests? Requests { get; init; }
}

/// <summary>One restored disk.</summary>
/// <param name="Name">The disk.</param>
/// <param name="Target">Path or URI.</param>
/// <param name="BytesWritten">Data written, bytes; what is zero is not written.</param>
/// <param name="Verified">The target was flushed, read back through its format, and its tree root is the restore point's.</param>
/// <param name="WriteSeconds">Time until everything was written and flushed.</param>
/// <param name="ProofSeconds">Time to read it back and compare.</param>
public sealed record RestoredDiskResult(
    string Name, string Target, long BytesWritten, bool Verified, double WriteSeconds, double ProofSeconds);
