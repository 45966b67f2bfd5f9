// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using Tidemark.Cli.Output;
using Tidemark.Engine.Care;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark stats [MACHINE|POINT]</c>: sizes, and what deleting would give back.</summary>
internal static class StatsCommand
{
    private static readonly Argument<string?> Name = new("MACHINE|POINT")
    {
        Description = "A machine, for each of its restore points; or one restore point",
        Arity = ArgumentArity.ZeroOrOne,
    };

    public static Command Create()
    {
        var command = new Command("stats", "Sizes, and what deleting would give back") { Name };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var output = result.Output();
        var groups = Groups(result.GetValue(Name), await repository.ReadablePointsAsync(cancellationToken));
        var care = new RepositoryCare(repository, TimeProvider.System);
        var stats = await care.StatsAsync(groups, StageView.For(output), cancellationToken);
        output.Result(stats, CliJson.Default.StatsInfo, Describe);
        return ExitCode.Done;
    }

    private static List<StatsGroup> Groups(string? name, IReadOnlyList<PointInfo> all)
    {
        if (name is null)
            return all.GroupBy(point => point.MachineUuid, StringComparer.Ordinal).Select(
                machine => new StatsGroup(machine.Last().Machine, machine.Select(point => point.Id).ToList())).ToList();
        var isMachine = all.Any(point => name == point.Machine || name == point.MachineUuid || name == $"{point.Host}/{point.Machine}");
        var points = isMachine ? PointName.OfMachine(name, all) : [PointName.Resolve(name, all)];
        return points.Select(point => new StatsGroup(point.Id, [point.Id])).ToList();
    }

    private static string Describe(StatsInfo stats)
    {
        var table = new TextTable("NAME", ">POINTS", ">SIZE", ">DELETING IT GIVES BACK");
        foreach (var group in stats.Groups)
            table.Add(
                group.Name, group.Points.ToString(CultureInfo.InvariantCulture), Sizes.Bytes(group.LogicalBytes),
                Sizes.Bytes(group.UniqueBytes));
        var ratios = string.Create(CultureInfo.InvariantCulture, $"dedup {stats.Dedup:0.0} x, compression {stats.Compression:0.0} x");
        return $"{table}\n\n{stats.Points} restore points of {Sizes.Bytes(stats.LogicalBytes)}, "
            + $"{Sizes.Bytes(stats.ReferencedBytes)} not zero; {ratios}\n"
            + $"stored {Sizes.Bytes(stats.StoredBytes)}: {Sizes.Bytes(stats.LiveBytes)} needed, "
            + $"{Sizes.Bytes(stats.DeletedBytes)} only by deleted points";
    }
}
