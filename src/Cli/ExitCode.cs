// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine;

namespace Tidemark.Cli;

/// <summary>What the process says at its end; fixed, documented in docs/cli.md.</summary>
internal static class ExitCode
{
    public const int Done = 0;
    public const int Failed = 1;
    public const int Usage = 2;
    public const int Warnings = 3;
    public const int Busy = 4;
    public const int Damaged = 5;
    public const int Interrupted = 130;

    public static int Of(FailureKind kind) => kind switch
    {
        FailureKind.Usage => Usage,
        FailureKind.Busy => Busy,
        FailureKind.Damaged => Damaged,
        _ => Failed,
    };
}
