// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine.Copy;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark copy --to URL [POINT...]</c>: restore points into a second repository.</summary>
internal static class CopyCommand
{
    private static readonly Argument<string[]> Points = new("POINT")
    {
        Description = "Restore points; all when none is named",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Option<string> To = new("--to") { Description = "The second repository", Required = true };

    private static readonly Option<string?> ToPasswordFile = new("--to-password-file")
    {
        Description = "File with the second repository's password; without it and a key file, this one's key is tried",
    };

    private static readonly Option<string?> ToKeyFile = new("--to-key-file") { Description = "Key file of the second repository" };

    public static Command Create()
    {
        var command = new Command("copy", "Bring restore points to a second repository; a second call goes on where one ended")
        {
            Points, To, ToPasswordFile, ToKeyFile, GlobalOptions.Limit,
        };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var (password, keyFile) = (result.GetValue(ToPasswordFile), result.GetValue(ToKeyFile));
        var access = password is null && keyFile is null
            ? result.Access(settings)
            : new RepositoryAccess(password is null ? null : GlobalOptions.ReadPassword(password), keyFile);
        await using var source = await result.OpenRepositoryAsync(settings, cancellationToken);
        await using var target = await RepositorySession.OpenAsync(
            result.GetValue(To)!, access, result.Choices(), cancellationToken);
        var names = result.GetValue(Points)!;
        IReadOnlyList<PointInfo> chosen = [];
        if (names.Length > 0)
        {
            var all = await source.ReadablePointsAsync(cancellationToken);
            chosen = names.Select(name => PointName.Resolve(name, all)).ToList();
        }

        CopySummary summary;
        await using (var progress = new ProgressView(result.Output()))
            summary = await CopyRun.RunAsync(source, target, chosen, progress.Receive, cancellationToken);
        result.Output().Result(summary, CliJson.Default.CopySummary, Describe);
        foreach (var failure in summary.Failed)
            UserOutput.Error($"Restore point '{failure.Point}' was not copied: {failure.Error}", null);
        return summary.Failed.Any(failure => failure.IsDamaged) ? ExitCode.Damaged
            : summary.Failed.Count > 0 ? ExitCode.Failed
            : ExitCode.Done;
    }

    private static string Describe(CopySummary summary)
    {
        var text = new StringBuilder();
        foreach (var point in summary.Copied)
            text.AppendLine($"{point.Machine} of {Sizes.Time(point.Time)} UTC is there as {point.Id}.");
        text.Append($"Copied {summary.Copied.Count} restore points, {summary.AlreadyThere} were there already; read ");
        text.Append($"{Sizes.Bytes(summary.ReadBytes)}, stored {Sizes.Bytes(summary.StoredBytes)}.");
        if (summary.OtherDomains > 0)
            text.Append($"\n{summary.OtherDomains} restore points of other key domains were left out: this key does not open them.");
        return text.ToString();
    }
}
