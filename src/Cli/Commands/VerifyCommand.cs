// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
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

    public static Command Create()
    {
        Level.AcceptOnlyFromAmong("quick", "packs", "data");
        var command = new Command("verify", "Check what the repository holds") { Points, Level, GlobalOptions.Limit };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var names = result.GetValue(Points)!;
        IReadOnlyList<string> ids = [];
        if (names.Length > 0)
        {
            var all = await repository.ReadablePointsAsync(cancellationToken);
            ids = names.Select(name => PointName.Resolve(name, all).Id).ToList();
        }

        var level = Enum.Parse<VerifyLevel>(result.GetValue(Level)!, ignoreCase: true);
        var verified = await repository.VerifyAsync(level, ids, cancellationToken);
        var output = result.Output();
        output.Requests(repository.Requests);
        output.Result(verified with { Requests = repository.Requests }, CliJson.Default.VerifyResult, Describe);
        return verified.Ok ? ExitCode.Done : ExitCode.Damaged;
    }

    private static string Describe(VerifyResult verified)
    {
        var done = $"Checked {verified.Checked.Points} restore points, {verified.Checked.Objects} objects, "
            + $"{Sizes.Bytes(verified.Checked.Bytes)}, level {verified.Checked.Level}";
        if (verified.Ok)
            return $"{done}: all sound.";
        var damage = verified.Damaged.Select(item =>
            $"  {item.Object}: {item.Problem}" + (item.Points.Count > 0 ? $" (restore points {string.Join(", ", item.Points)})" : ""));
        return $"{done}: {verified.Damaged.Count} damaged.\n{string.Join('\n', damage)}";
    }
}
