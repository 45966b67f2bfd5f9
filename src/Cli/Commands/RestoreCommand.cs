// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Points;
using Tidemark.Engine.Restore;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark restore POINT</c>: to files, block devices, or a machine.</summary>
internal static class RestoreCommand
{
    private static readonly Argument<string> Point = new("POINT") { Description = "MACHINE@latest, MACHINE@TIME, or an id" };

    private static readonly Option<string?> To = new("--to") { Description = "Folder for the images" };

    private static readonly Option<string[]> Disk = new("--disk")
    {
        Description = "NAME, or NAME=FILE|BLOCKDEVICE|nbd://… (again for more); all disks when none is named",
    };

    private static readonly Option<string> Format = new("--format")
    {
        Description = "qcow2 or raw, for image files",
        DefaultValueFactory = _ => "qcow2",
    };

    private static readonly Option<bool> Define = new("--define") { Description = "Define a machine from the restored disks" };

    private static readonly Option<string?> Name = new("--name")
    {
        Description = "Name of the new machine: it also gets a UUID and MAC addresses of its own",
    };

    private static readonly Option<bool> Start = new("--start") { Description = "Start it, too" };

    private static readonly Option<bool> Force = new("--force") { Description = "Overwrite what the targets hold" };

    private static readonly Option<bool> TrustDefinition = new("--trust-definition")
    {
        Description = "Define it even where the stored definition reaches into this host",
    };

    public static Command Create()
    {
        Format.AcceptOnlyFromAmong("qcow2", "raw");
        var command = new Command("restore", "Write a restore point's disks, prove them, and define the machine if wanted")
        {
            Point, To, Disk, Format, Define, Name, Start, Force, TrustDefinition, GlobalOptions.Limit,
        };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var output = result.Output();
        var define = result.GetValue(Define) || result.GetValue(Start) || result.GetValue(Name) is not null;
        await using var repository = await result.OpenRepositoryAsync(settings, cancellationToken);
        var point = PointName.Resolve(result.GetValue(Point)!, await repository.ReadablePointsAsync(cancellationToken));
        await using var hypervisor = define ? await result.ConnectHypervisorAsync(settings, cancellationToken) : null;
        RestoreResult restored;
        await using (var progress = new ProgressView(output))
        {
            var options = new RestoreOptions
            {
                Folder = result.GetValue(To) is { } folder ? Path.GetFullPath(folder) : null,
                Disks = (result.GetValue(Disk) ?? []).Select(ReadDisk).ToList(),
                Format = result.GetValue(Format)!,
                Force = result.GetValue(Force),
                Define = define,
                Name = result.GetValue(Name),
                Start = result.GetValue(Start),
                TrustDefinition = result.GetValue(TrustDefinition),
            };
            restored = await RestoreRun.RunAsync(repository, hypervisor, point, options, progress.Receive, cancellationToken);
        }

        foreach (var warning in restored.Warnings)
            UserOutput.Warning(warning);
        output.Requests(repository.Requests);
        output.Result(restored with { Requests = repository.Requests }, CliJson.Default.RestoreResult, Describe);
        return ExitCode.Done;
    }

    private static RestoreDiskChoice ReadDisk(string text)
    {
        var at = text.IndexOf('=', StringComparison.Ordinal);
        if (at == 0 || at == text.Length - 1)
            throw EngineException.Usage($"Disk '{text}' is not of the form NAME or NAME=TARGET.");
        return at < 0 ? new RestoreDiskChoice(text, null) : new RestoreDiskChoice(text[..at], text[(at + 1)..]);
    }

    private static string Describe(RestoreResult restored)
    {
        var text = new StringBuilder();
        foreach (var disk in restored.Disks)
        {
            text.AppendLine($"{disk.Name} -> {disk.Target}: wrote {Sizes.Bytes(disk.BytesWritten)}, read back and "
                + "found to be exactly the restore point");
        }

        foreach (var note in restored.Notes)
            text.AppendLine(note);
        if (restored.Defined is { } name)
            text.AppendLine(restored.Started ? $"Machine '{name}' is defined and started." : $"Machine '{name}' is defined.");
        return text.ToString().TrimEnd();
    }
}
