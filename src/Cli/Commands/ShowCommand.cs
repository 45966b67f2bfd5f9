// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark show POINT</c>: one restore point, whole.</summary>
internal static class ShowCommand
{
    private static readonly Argument<string> Point = new("POINT") { Description = "MACHINE@latest, MACHINE@TIME, or an id" };

    public static Command Create()
    {
        var command = new Command("show", "Disks, sizes, modes and reasons, what was not protected") { Point };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var point = PointName.Resolve(result.GetValue(Point)!, await repository.ReadablePointsAsync(cancellationToken));
        result.Output().Result(point, CliJson.Default.PointInfo, Describe);
        return ExitCode.Done;
    }

    private static string Describe(PointInfo point)
    {
        var text = new StringBuilder()
            .AppendLine($"{point.Machine}@{point.Id}")
            .AppendLine($"  time         {Sizes.Time(point.Time)} UTC")
            .AppendLine($"  machine      {point.MachineUuid} on {point.Host}")
            .AppendLine($"  consistency  {point.Consistency}");
        if (point.Domain is not null)
            text.AppendLine($"  key domain   {point.Domain}");
        foreach (var (key, value) in point.Tags)
            text.AppendLine($"  tag          {key}={value}");
        if (point.Protected)
            text.AppendLine(point.ProtectedUntil is { } until ? $"  protected    until {Sizes.Time(until)} UTC" : "  protected");
        foreach (var disk in point.Disks)
        {
            text.AppendLine($"  {disk.Name}: {Sizes.Bytes(disk.Size)}, {disk.Mode}: {disk.Reason}")
                .AppendLine($"    changed {Sizes.Bytes(disk.ChangedBytes)}, read {Sizes.Bytes(disk.ReadBytes)}, "
                    + $"stored {Sizes.Bytes(disk.StoredBytes)}, chunks of {Sizes.Bytes(disk.ChunkSize)}")
                .AppendLine($"    root {disk.Root}");
            text.AppendLine(disk.CoveredSince is { } covered
                ? $"    audited {Sizes.Bytes(disk.AuditedBytes)} more; all of it was compared with the disk since {Sizes.Time(covered)} UTC"
                    + (disk.CoveredSincePoint is { } id ? $" ({id})" : "")
                : $"    audited {Sizes.Bytes(disk.AuditedBytes)} more; not all of it was compared with the disk yet");
            if (disk.Checkpoint is not null)
                text.AppendLine($"    checkpoint {disk.Checkpoint}");
        }

        foreach (var disk in point.NotProtected)
            text.AppendLine($"  {disk.Name}: NOT protected: {disk.Reason}");
        foreach (var warning in point.Warnings)
            text.AppendLine($"  warning: {warning}");
        return text.ToString().TrimEnd();
    }
}
