// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Points;
using Tidemark.Engine.Verify;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark verify [POINT...]</c>: what is there, and whether it is what was stored.</summary>
internal static class VerifyCommand
{
    private static readonly Argument<string[]> Points = new("POINT")
    {
        Description = "Restore points; all when none is named",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Option<string> Level = new("--level")
    {
        Description = "quick: everything is there; packs: and hashes right; data: and decrypts to what was stored",
        DefaultValueFactory = _ => "quick",
    };

    private static readonly Option<string> Budget = new("--budget")
    {
        Description = "At levels packs and data: how much to read, as 20G, 4% or all; packs longest unchecked first",
        DefaultValueFactory = _ => "all",
    };

    private static readonly Option<bool> NoQuarantine = new("--no-quarantine")
    {
        Description = "Only look: do not record damaged packs, which is what makes the next backups heal them",
    };

    public static Command Create()
    {
        Level.AcceptOnlyFromAmong("quick", "packs", "data");
        var command = new Command("verify", "Check what the repository holds") { Points, Level, Budget, NoQuarantine, GlobalOptions.Limit };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var request = ReadBudget(result.GetValue(Budget)!) with
        {
            Level = Enum.Parse<VerifyLevel>(result.GetValue(Level)!, ignoreCase: true),
            Quarantine = !result.GetValue(NoQuarantine),
        };
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var names = result.GetValue(Points)!;
        if (names.Length > 0)
        {
            var all = await repository.ReadablePointsAsync(cancellationToken);
            request = request with { Points = names.Select(name => PointName.Resolve(name, all).Id).ToList() };
        }

        var output = result.Output();
        VerifyResult verified;
        await using (var progress = new ProgressView(output))
            verified = await repository.VerifyAsync(request, progress, cancellationToken);
        output.Requests(repository.Requests);
        output.Result(verified with { Requests = repository.Requests }, CliJson.Default.VerifyResult, Describe);
        return verified.Ok ? ExitCode.Done : verified.Damaged.Count > 0 ? ExitCode.Damaged : ExitCode.Failed;
    }

    private static VerifyRequest ReadBudget(string text)
    {
        if (text == "all")
            return new VerifyRequest();
        if (text.EndsWith('%') && double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var percent)
            && percent is > 0 and <= 100)
            return new VerifyRequest { BudgetPercent = percent };
        if (Sizes.TryParse(text, out var bytes) && bytes > 0)
            return new VerifyRequest { BudgetBytes = bytes };
        throw EngineException.Usage($"'{text}' is not a budget.", "--budget 20G, --budget 4% or --budget all");
    }

    private static string Describe(VerifyResult verified)
    {
        var text = new StringBuilder($"Checked {verified.Checked.Points} restore points, {verified.Checked.Objects} objects, ");
        text.Append($"{Sizes.Bytes(verified.Checked.Bytes)}, level {verified.Checked.Level}: ");
        text.Append(verified.Ok ? "all sound." : $"{verified.Damaged.Count} damaged, {verified.Unread.Count} unread.");
        if (verified.OldestCheck is { } oldest)
            text.Append($"\nPack longest unchecked: since {Sizes.Time(oldest)} UTC.");
        if (verified.OtherDomains > 0)
            text.Append($"\nNot read: {verified.OtherDomains} restore points of other key domains, which this key does not open.");
        foreach (var item in verified.Damaged)
        {
            text.Append($"\n  {item.Object}: {item.Problem}");
            if (item.Points.Count > 0)
                text.Append($" Restore points hurt until it is healed: {string.Join(", ", item.Points)}.");
        }

        foreach (var item in verified.Doubtful)
            text.Append($"\n  {item.Point}: {item.Problem}");
        foreach (var item in verified.Unread)
            text.Append($"\n  {item.Object} could not be read: {item.Problem}");
        if (verified.Quarantined.Count > 0)
            text.Append($"\nQuarantined: {verified.Quarantined.Count} packs. ")
                .Append("Back up the machines again: what their disks still have heals.");
        if (verified.Healed.Count > 0)
            text.Append($"\nHealed: {verified.Healed.Count} packs that were damaged hurt nothing any more.");
        return text.ToString();
    }
}
