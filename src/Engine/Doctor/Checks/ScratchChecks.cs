// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>Whether the scratch folder takes a run's socket and scratch files, and has room for them.</summary>
public static class ScratchChecks
{
    private const string Host = "host";
    private const long Gibi = 1L << 30;

    /// <param name="scratch">The folder.</param>
    /// <param name="worst">The machine whose scratch files could take most, and how much; null when none is known.</param>
    public static IEnumerable<Finding> Judge(ScratchFacts scratch, (string Machine, long Bytes)? worst) =>
        JudgeWay(scratch).Concat(JudgeRoom(scratch, worst));

    private static IEnumerable<Finding> JudgeWay(ScratchFacts scratch)
    {
        var fine = true;
        if (RunFolder.IsTooLong(scratch.Path))
        {
            fine = false;
            yield return Finding.Problem(
                Host, $"Scratch folder '{scratch.Path}' is too long a path for the unix sockets in it.",
                $"set TIDEMARK_SCRATCH, or 'scratch' in the settings file, to one of at most {RunFolder.LongestScratch} bytes");
        }

        if (!scratch.IsWritable)
        {
            fine = false;
            yield return Finding.Problem(
                Host, $"Scratch folder '{scratch.Path}' cannot be {(scratch.Exists ? "written" : "made")} by this user.",
                "run as root, or set TIDEMARK_SCRATCH");
        }

        if (!scratch.CanGiveAway)
        {
            fine = false;
            yield return Finding.Problem(
                Host, "This user can give no folder to the user that QEMU runs as.", "run as root, or as the user that QEMU runs as");
        }

        if (scratch.Impassable is { } folder)
        {
            fine = false;
            yield return Finding.Problem(
                Host, $"QEMU's user cannot reach the scratch folder '{scratch.Path}': it may not pass '{folder}'.",
                $"chmod o+x '{folder}'");
        }

        if (scratch.IsOpenToAll)
        {
            fine = false;
            yield return Finding.Problem(
                Host, $"Anyone may remove and replace what is in the scratch folder '{scratch.Path}'.", $"chmod o-w '{scratch.Path}'");
        }

        if (fine && !scratch.IsPassageKnown)
            yield return Finding.Note(Host, $"Whether QEMU's user can reach the scratch folder '{scratch.Path}' was not tried.");
        else if (fine)
            yield return Finding.Ok(Host, $"Scratch folder '{scratch.Path}' can be used by QEMU.");
    }

    private static IEnumerable<Finding> JudgeRoom(ScratchFacts scratch, (string Machine, long Bytes)? worst)
    {
        if (scratch.FileSystem is "tmpfs" or "ramfs")
        {
            yield return Finding.Note(
                Host, $"Scratch folder '{scratch.Path}' lies in memory ({scratch.FileSystem}): what guests overwrite during a backup is "
                + "kept there.");
        }

        if (scratch.FreeBytes is not { } free || worst is not var (machine, bytes))
            yield break;
        var rooms = string.Create(
            CultureInfo.InvariantCulture,
            $"Scratch folder '{scratch.Path}' has {(double)free / Gibi:0.0} GiB free; machine '{machine}' would need "
                + $"{(double)bytes / Gibi:0.0} "
            + $"GiB if it overwrote all its data during one backup");
        if (free >= bytes)
            yield return Finding.Ok(Host, $"{rooms}.");
        else if (free >= bytes / 10)
            yield return Finding.Note(Host, $"{rooms}. A backup that fills it is given up, and the guest goes on.");
        else
            yield return Finding.Warning(
                Host, $"{rooms}. A backup that fills it is given up, and the guest goes on.",
                "set TIDEMARK_SCRATCH to a folder with more room");
    }
}
