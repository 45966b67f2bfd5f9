// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Care;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark protect POINT</c> and <c>tidemark tag POINT K=V...</c>: what people say about a restore point.</summary>
internal static class LabelCommands
{
    private static readonly Argument<string> Point = new("POINT") { Description = "MACHINE@latest, MACHINE@TIME, or an id" };

    private static readonly Argument<string[]> Tags = new("K=V")
    {
        Description = "Tags; K= takes one away",
        Arity = ArgumentArity.OneOrMore,
    };

    private static readonly Option<string?> Until = new("--until") { Description = "Only until this time: 2027-01-31, or 30d from now" };

    private static readonly Option<bool> Off = new("--off") { Description = "No longer" };

    public static Command Protect()
    {
        var command = new Command("protect", "Keep a restore point from being deleted") { Point, Until, Off };
        command.SetAction(ProtectAsync);
        return command;
    }

    public static Command Tag()
    {
        var command = new Command("tag", "Label a restore point") { Point, Tags };
        command.SetAction(TagAsync);
        return command;
    }

    private static async Task<int> ProtectAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var until = result.GetValue(Until) is { } text ? ParseTime(text) : (DateTimeOffset?)null;
        if (until is not null && result.GetValue(Off))
            throw EngineException.Usage("--until and --off contradict each other.");
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var point = PointName.Resolve(result.GetValue(Point)!, await repository.ReadablePointsAsync(cancellationToken));
        var care = new RepositoryCare(repository, TimeProvider.System);
        var label = await care.ProtectAsync(point, !result.GetValue(Off), until, cancellationToken);
        result.Output().Result(label, CliJson.Default.LabelInfo, Describe);
        return ExitCode.Done;
    }

    private static async Task<int> TagAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var tags = result.GetValue(Tags)!.Select(ReadTag).ToList();
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var point = PointName.Resolve(result.GetValue(Point)!, await repository.ReadablePointsAsync(cancellationToken));
        var label = await new RepositoryCare(repository, TimeProvider.System).TagAsync(point, tags, cancellationToken);
        result.Output().Result(label, CliJson.Default.LabelInfo, Describe);
        return ExitCode.Done;
    }

    private static KeyValuePair<string, string?> ReadTag(string text)
    {
        var at = text.IndexOf('=', StringComparison.Ordinal);
        if (at <= 0)
            throw EngineException.Usage($"Tag '{text}' is not of the form KEY=VALUE.");
        return new(text[..at], at + 1 < text.Length ? text[(at + 1)..] : null);
    }

    private static DateTimeOffset ParseTime(string text)
    {
        const DateTimeStyles Utc = DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal;
        return DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, Utc, out var time)
            ? time
            : TimeProvider.System.GetUtcNow() + Durations.Parse("--until", text);
    }

    private static string Describe(LabelInfo label)
    {
        var until = label.Until is { } time ? $" until {Sizes.Time(time)} UTC" : "";
        var tags = string.Join(' ', label.Tags.Select(tag => $"{tag.Key}={tag.Value}"));
        return $"{label.Id}: {(label.Protected ? "protected" + until : "not protected")}{(tags.Length > 0 ? "; " + tags : "")}";
    }
}
