// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine;

/// <summary>What a caller can do about a failure; the command line turns it into an exit code.</summary>
public enum FailureKind
{
    /// <summary>It did not work; the message says why.</summary>
    Failed,

    /// <summary>The request itself is wrong: unknown machine, bad option.</summary>
    Usage,

    /// <summary>Someone else is at work on the same machine; try again later.</summary>
    Busy,

    /// <summary>Data in the repository is damaged.</summary>
    Damaged,
}

/// <summary>A failure that a user can act on: one sentence, and at most one hint with a command to run.</summary>
public sealed class EngineException(FailureKind kind, string message, string? hint = null, Exception? inner = null)
    : Exception(message, inner)
{
    public FailureKind Kind { get; } = kind;

    public string? Hint { get; } = hint;

    public static EngineException Failed(string message, string? hint = null, Exception? inner = null) =>
        new(FailureKind.Failed, message, hint, inner);

    public static EngineException Usage(string message, string? hint = null) => new(FailureKind.Usage, message, hint);

    public static EngineException Busy(string message, string? hint = null) => new(FailureKind.Busy, message, hint);
}
