// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Care;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark forget POINT...</c>: delete restore points or disks of them, or bring one back.</summary>
internal static class ForgetCommand
{
    private static readonly Argument<string[]> Points = new("POINT")
    {
        Description = "MACHINE@latest, MACHINE@TIME, or an id",
        Arity = ArgumentArity.OneOrMore,
    };

    private static readonly Option<string[]> Disk = new("--disk") { Description = "Only this disk of them (again for more)" };

    private static readonly Option<bool> Undo = new("--undo") { Description = "Bring a deleted restore point back, as a new one" };

    private static readonly Option<bool> Damaged = new("--damaged")
    {
        Description = "Restore points that can't be read, named MACHINE/RUN as verify and gc show them: what they held is given up",
    };

    public static Command Create()
    {
        var command = new Command("forget", "Delete restore points; gc gives back their space a day later") { Points, Disk, Undo, Damaged };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var care = new RepositoryCare(repository, TimeProvider.System);
        var names = result.GetValue(Points)!;
        var disks = result.GetValue(Disk) ?? [];
        if (result.GetValue(Damaged))
        {
            if (result.GetValue(Undo) || disks.Length > 0)
                throw EngineException.Usage("A damaged restore point is deleted as a whole, and can't be brought back.");
            result.Output().Result(await care.ForgetDamagedAsync(names, cancellationToken), CliJson.Default.ForgetResult, DescribeDamaged);
            return ExitCode.Done;
        }

        if (result.GetValue(Undo))
        {
            if (names.Length != 1 || disks.Length > 0)
                throw EngineException.Usage("One restore point is brought back at a time, the whole of it.");
            var deleted = PointName.Resolve(names[0], await care.DeletedAsync(cancellationToken));
            result.Output().Result(await care.UndoAsync(deleted, cancellationToken), CliJson.Default.ForgetResult, Describe);
            return ExitCode.Done;
        }

        var all = await repository.ReadablePointsAsync(cancellationToken);
        var points = names.Select(name => PointName.Resolve(name, all)).DistinctBy(point => point.Id, StringComparer.Ordinal).ToList();
        result.Output().Result(await care.ForgetAsync(points, disks, cancellationToken), CliJson.Default.ForgetResult, Describe);
        return ExitCode.Done;
    }

    private static string DescribeDamaged(ForgetResult done) =>
        $"Deleted {string.Join(", ", done.Forgotten)}, which could not be read. A day from now `tidemark gc` goes on without.";

    private static string Describe(ForgetResult done)
    {
        if (done.BroughtBack is { } back)
            return $"Brought back as {back.Machine}@{back.Id}.";
        var points = string.Join(", ", done.Forgotten);
        var what = done.Disks.Count > 0 ? $"{string.Join(", ", done.Disks)} of {points}" : points;
        return $"Deleted {what}.\n`tidemark forget --undo POINT` brings a restore point back for a day; "
            + "then `tidemark gc` gives back its space.";
    }
}
