// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Doctor.Facts;

/// <summary>How the guest's agent took a question.</summary>
public enum AgentState
{
    /// <summary>The machine is off or paused: nobody could answer.</summary>
    NotAsked,

    /// <summary>The machine has no channel for one.</summary>
    NotConfigured,

    /// <summary>It has a channel, and no agent has opened it.</summary>
    NotConnected,

    /// <summary>It has opened the channel, and gave no answer in time.</summary>
    Silent,

    Answers,
}

/// <summary>A machine, and what is known of it beyond what a backup asks.</summary>
public sealed record MachineFacts
{
    /// <summary>Of a machine that is off, the bitmaps are those in its images.</summary>
    public required Machine Machine { get; init; }

    public required AgentState Agent { get; init; }

    /// <summary>The agent says that file systems are frozen.</summary>
    public required bool IsFrozen { get; init; }

    /// <summary>QEMU paused it, because a disk or a scratch file failed or is full.</summary>
    public required bool IsIoErrorPause { get; init; }

    /// <summary>Checkpoints that the hypervisor has records of, parents first.</summary>
    public required IReadOnlyList<CheckpointRecord> Checkpoints { get; init; }

    public required JobFacts? Job { get; init; }

    /// <summary>Bytes that the images of its disks take: what scratch files can grow to.</summary>
    public required long AllocatedBytes { get; init; }

    /// <summary>User and group of its QEMU; null when it does not run or that is unknown.</summary>
    public required (uint User, uint Group)? QemuOwner { get; init; }

    /// <summary>What could not be looked at, a sentence each.</summary>
    public required IReadOnlyList<string> Unseen { get; init; }
}

/// <summary>A job of the hypervisor.</summary>
/// <param name="Operation">In the hypervisor's word, such as <c>backup</c>.</param>
/// <param name="Elapsed">How long, as far as it is known.</param>
/// <param name="Socket">Of a backup, the socket that it serves from.</param>
public sealed record JobFacts(string Operation, TimeSpan? Elapsed, string? Socket);
