// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Doctor.Facts;

/// <summary>This host, as far as backups need it.</summary>
public sealed record HostFacts
{
    public required bool IsRoot { get; init; }

    public required ScratchFacts Scratch { get; init; }

    public required StateFacts State { get; init; }

    /// <summary>Programs that are not installed, each in a sentence.</summary>
    public required IReadOnlyList<string> MissingPrograms { get; init; }

    /// <summary>Why a guardian does not start; null when it does.</summary>
    public required string? GuardianFailure { get; init; }

    public required ConfinementFacts Confinement { get; init; }

    public required TlsFacts Tls { get; init; }

    public required LeftoverFacts Leftovers { get; init; }
}

/// <summary>The folder of sockets and scratch files.</summary>
public sealed record ScratchFacts
{
    public required string Path { get; init; }

    public required bool Exists { get; init; }

    /// <summary>Name of the file system's type, such as <c>tmpfs</c>; null when unknown.</summary>
    public required string? FileSystem { get; init; }

    public required long? FreeBytes { get; init; }

    /// <summary>Others than its owner may add and remove files, and none is protected from the others (no sticky bit).</summary>
    public required bool IsOpenToAll { get; init; }

    /// <summary>This user may make folders in it (or make it).</summary>
    public required bool IsWritable { get; init; }

    /// <summary>This user may give a folder to QEMU's user: it is root, or that very user.</summary>
    public required bool CanGiveAway { get; init; }

    /// <summary>The first folder on the way that QEMU's user may not pass; null when there is none, or nobody knows.</summary>
    public required string? Impassable { get; init; }

    /// <summary>Whether QEMU's user can pass was tried.</summary>
    public required bool IsPassageKnown { get; init; }
}

/// <summary>The folder of journal and locks.</summary>
public sealed record StateFacts
{
    public required string Path { get; init; }

    public required bool Exists { get; init; }

    public required bool IsWritable { get; init; }

    /// <summary>Someone else owns it, or others may write in it: they could plant journal entries, and with them commands.</summary>
    public required bool IsOpenToOthers { get; init; }
}

/// <summary>What keeps QEMU from files besides their owners and modes.</summary>
/// <param name="AppArmor">The kernel enforces AppArmor profiles.</param>
/// <param name="AppArmorNamesScratch">QEMU's profile has a rule that names the scratch folder.</param>
/// <param name="SeLinux">The kernel enforces SELinux.</param>
public sealed record ConfinementFacts(bool AppArmor, bool AppArmorNamesScratch, bool SeLinux);

/// <summary>TLS of backups over TCP.</summary>
/// <param name="ConfigurationFile">libvirt's settings for QEMU.</param>
/// <param name="Folder">The folder of certificates that they name; null when they name none or cannot be read.</param>
/// <param name="Missing">Files that are not in it.</param>
public sealed record TlsFacts(string ConfigurationFile, string? Folder, IReadOnlyList<string> Missing);

/// <summary>What runs have left on this host.</summary>
public sealed record LeftoverFacts
{
    public required IReadOnlyList<LeftoverEntry> Entries { get; init; }

    /// <summary>Folders of runs that no journal entry knows.</summary>
    public required IReadOnlyList<string> StaleFolders { get; init; }

    /// <summary>What could not be looked at, a sentence each.</summary>
    public required IReadOnlyList<string> Unseen { get; init; }
}

/// <summary>A journal entry.</summary>
/// <param name="Entry">As it was written.</param>
/// <param name="IsDead">Nobody holds the machine's lock: its run is dead, and so is the guardian.</param>
public sealed record LeftoverEntry(JournalEntry Entry, bool IsDead);
