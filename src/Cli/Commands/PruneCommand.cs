// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Care;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark prune [MACHINE...] --keep-…</c>: delete what no rule keeps.</summary>
internal static class PruneCommand
{
    private static readonly Argument<string[]> Machines = new("MACHINE")
    {
        Description = "Name, UUID or HOST/NAME; every machine when none is named",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Option<int> Last = Keep("--keep-last", "The newest N of each machine");
    private static readonly Option<int> Hourly = Keep("--keep-hourly", "The newest of each of the last N hours that have one");
    private static readonly Option<int> Daily = Keep("--keep-daily", "Likewise of days");
    private static readonly Option<int> Weekly = Keep("--keep-weekly", "Likewise of weeks");
    private static readonly Option<int> Monthly = Keep("--keep-monthly", "Likewise of months");
    private static readonly Option<int> Yearly = Keep("--keep-yearly", "Likewise of years");

    private static readonly Option<string[]> Tags = new("--keep-tag") { Description = "All with this tag, KEY=VALUE (again for more)" };

    private static readonly Option<string?> Within = new("--keep-within")
    {
        Description = "All that were stored within this time before the newest: 12h, 30d, 8w",
    };

    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Show what would go and why the rest stays" };

    public static Command Create()
    {
        var command = new Command("prune", "Delete the restore points that no rule keeps")
        {
            Machines, Last, Hourly, Daily, Weekly, Monthly, Yearly, Tags, Within, DryRun,
        };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var policy = Read(result);
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var all = await repository.ReadablePointsAsync(cancellationToken);
        var machines = result.GetValue(Machines)!.Select(name => PointName.OfMachine(name, all)[0].MachineUuid).ToList();
        var care = new RepositoryCare(repository, TimeProvider.System);
        var pruned = await care.PruneAsync(policy, machines, result.GetValue(DryRun), cancellationToken);
        result.Output().Result(pruned, CliJson.Default.PruneResult, Describe);
        return ExitCode.Done;
    }

    private static RetentionPolicy Read(ParseResult result) => new()
    {
        Last = Number(result, Last),
        Hourly = Number(result, Hourly),
        Daily = Number(result, Daily),
        Weekly = Number(result, Weekly),
        Monthly = Number(result, Monthly),
        Yearly = Number(result, Yearly),
        Tags = (result.GetValue(Tags) ?? []).Select(ReadTag).ToList(),
        Within = result.GetValue(Within) is { } within ? Durations.Parse("--keep-within", within) : null,
    };

    private static int Number(ParseResult result, Option<int> option) => result.GetValue(option) is var number and >= 0
        ? number
        : throw EngineException.Usage($"{option.Name} takes a number of at least 0.");

    private static KeyValuePair<string, string> ReadTag(string text)
    {
        var at = text.IndexOf('=', StringComparison.Ordinal);
        return at > 0
            ? new(text[..at], text[(at + 1)..])
            : throw EngineException.Usage($"Tag '{text}' is not of the form KEY=VALUE.");
    }

    private static string Describe(PruneResult pruned)
    {
        if (pruned.Points.Count == 0)
            return "There are no restore points.";
        var table = new TextTable("POINT", "MACHINE", "TIME (UTC)", "", "WHY");
        foreach (var point in pruned.Points)
            table.Add(point.Id, point.Machine, Sizes.Time(point.Time), point.Keep ? "keep" : "delete", string.Join(", ", point.Reasons));
        var count = pruned.Retired.Count;
        var end = pruned.DryRun ? $"{count} would be deleted."
            : count == 0 ? "Nothing was deleted."
            : $"{count} deleted. `tidemark forget --undo POINT` brings one back for a day; then `tidemark gc` gives back their space.";
        return $"{table}\n{end}";
    }

    private static Option<int> Keep(string name, string description) => new(name) { Description = description };
}
