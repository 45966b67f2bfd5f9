// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Tidemark.Engine.Runs;

/// <summary>
/// All that a run may leave on a machine, written down before it does anything there. Whoever finds the entry and holds the
/// machine's lock knows that its run is dead, and can put everything right.
/// </summary>
public sealed record JournalEntry
{
    public required Guid Run { get; init; }

    /// <summary>The process that does the run.</summary>
    public required int Process { get; init; }

    public required string MachineUuid { get; init; }

    public required string MachineName { get; init; }

    /// <summary>Hypervisor connection; null is the default one.</summary>
    public required string? Connect { get; init; }

    /// <summary>Where the repository is, to put the tombstone.</summary>
    public required string Repository { get; init; }

    /// <summary>First 8 hex digits of the repository's id.</summary>
    public required string RepositoryPart { get; init; }

    /// <summary>The checkpoint the run makes; null when no disk can carry one.</summary>
    public required string? Checkpoint { get; init; }

    /// <summary>Folder of the run's socket and scratch files.</summary>
    public required string Folder { get; init; }

    /// <summary>Names of the disks in the run.</summary>
    public required IReadOnlyList<string> Disks { get; init; }

    /// <summary>The run may freeze the guest.</summary>
    public bool MayFreeze { get; init; }

    /// <summary>Hooks that undo what others before the freeze did, and have not been run to their end yet.</summary>
    public IReadOnlyList<string> AfterThaw { get; init => field = value ?? []; } = [];

    /// <summary>The run is over, but a freeze that timed out may still reach the guest: thaw until the agent confirms it.</summary>
    public bool ThawOwed { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(JournalEntry))]
internal sealed partial class JournalJson : JsonSerializerContext;
