// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark list [MACHINE]</c>: restore points, newest last.</summary>
internal static class ListCommand
{
    private static readonly Argument<string?> Machine = new("MACHINE")
    {
        Description = "Name, UUID or HOST/NAME",
        Arity = ArgumentArity.ZeroOrOne,
    };

    public static Command Create()
    {
        var command = new Command("list", "Restore points, newest last") { Machine };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var list = await repository.PointsAsync(cancellationToken);
        var points = list.Points;
        var chosen = result.GetValue(Machine) is { } machine
            ? PointName.OfMachine(machine, points)
            : points.OrderBy(point => point.Time).ThenBy(point => point.Seq).ToList();
        result.Output().Result(new ListDocument(chosen), CliJson.Default.ListDocument, Table);
        foreach (var damage in list.Damaged)
            UserOutput.Error(damage, "tidemark verify");
        foreach (var unread in list.Unread)
            UserOutput.Error(unread, null);
        return list.Damaged.Count > 0 ? ExitCode.Damaged : list.Unread.Count > 0 ? ExitCode.Failed : ExitCode.Done;
    }

    private static string Table(ListDocument document)
    {
        if (document.Points.Count == 0)
            return "The repository has no restore points yet.";
        var table = new TextTable("POINT", "MACHINE", "TIME (UTC)", "CONSISTENCY", ">DISKS", ">SIZE", ">READ", ">STORED", "HOW");
        foreach (var point in document.Points)
        {
            table.Add(
                point.Id,
                point.Machine,
                Sizes.Time(point.Time),
                point.Consistency,
                point.Disks.Count.ToString(),
                Sizes.Bytes(point.Disks.Sum(disk => disk.Size)),
                Sizes.Bytes(point.Disks.Sum(disk => disk.ReadBytes)),
                Sizes.Bytes(point.Disks.Sum(disk => disk.StoredBytes)),
                string.Join(", ", point.Disks.Select(How)));
        }

        return table.ToString();
    }

    private static string How(DiskInfo disk) => disk.Doubt switch
    {
        null => $"{disk.Name} {disk.Mode}",
        { Since: { } since } => $"{disk.Name} {disk.Mode}, MAY LACK CHANGES since {Sizes.Time(since)}",
        _ => $"{disk.Name} {disk.Mode}, MAY LACK CHANGES",
    };
}
