// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Care;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark gc</c>: gives back the space of what was deleted.</summary>
internal static class GcCommand
{
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Show what would go and why; change nothing" };

    private static readonly Option<double?> MaxDelete = new("--max-delete")
    {
        Description = "Percent of the stored bytes that may go at once (20)",
    };

    private static readonly Option<string?> UndoWindow = new("--undo-window")
    {
        Description = "How long a deleted restore point can be brought back: 24h, 7d",
    };

    public static Command Create()
    {
        var command = new Command("gc", "Give back space; runs beside backups and never stops them") { DryRun, MaxDelete, UndoWindow };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var percent = result.GetValue(MaxDelete);
        if (percent is < 0 or > 100)
            throw EngineException.Usage("--max-delete takes a percentage from 0 to 100.");
        var window = result.GetValue(UndoWindow) is { } text ? Durations.Parse("--undo-window", text) : (TimeSpan?)null;
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var output = result.Output();
        var wish = new CollectWish(result.GetValue(DryRun), percent, window);
        var care = new RepositoryCare(repository, TimeProvider.System);
        var collected = await care.CollectAsync(wish, StageView.For(output), cancellationToken);
        output.Result(collected, CliJson.Default.CollectInfo, done => Describe(done, output.Verbose));
        return ExitCode.Done;
    }

    private static string Describe(CollectInfo done, bool verbose)
    {
        var text = new StringBuilder();
        if (done.Expired > 0)
            text.AppendLine(done.DryRun
                ? $"{done.Expired} deleted restore points could not be brought back any more."
                : $"{done.Expired} deleted restore points can't be brought back any more.");
        if (done.Revoked > 0)
            text.AppendLine($"{done.Revoked} dead runs were revoked.");
        foreach (var group in done.Packs.GroupBy(pack => pack.Why, StringComparer.Ordinal))
        {
            text.AppendLine(string.Create(
                CultureInfo.InvariantCulture, $"{Word(group.Key)}: {group.Count()} packs, {Sizes.Bytes(group.Sum(pack => pack.Bytes))}"));
            foreach (var pack in group.Where(_ => verbose || done.DryRun))
                text.AppendLine($"  {pack.Key}  {Sizes.Bytes(pack.Bytes)}");
        }

        foreach (var run in done.WaitingFor)
            text.AppendLine(
                $"Waiting for run {run.Run} of machine {run.Machine} on {run.Host}, begun {Sizes.Time(run.Since)}, "
                + $"last seen {Sizes.Time(run.LastSeen)} UTC.");
        var verb = done.DryRun ? "Would give back" : "Gave back";
        text.Append($"{verb} {Sizes.Bytes(done.DeletedBytes)}, {Sizes.Bytes(done.KeptBytes)} are in use.");
        if (done.WaitingFor.Count > 0 && !done.DryRun)
            text.Append(" The next `tidemark gc` goes on from here.");
        return text.ToString();
    }

    private static string Word(string why) => why switch
    {
        "dead" => "Nothing in them is needed",
        "orphan" => "Left by runs that never committed",
        _ => "Mostly unneeded, the rest moved",
    };
}
