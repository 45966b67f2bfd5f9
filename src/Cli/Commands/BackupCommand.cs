// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.CommandLine;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Cli.Settings;
using Tidemark.Engine;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Care;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark backup MACHINE... | --all</c>.</summary>
internal static class BackupCommand
{
    public static Command Create()
    {
        var command = new Command("backup", "Back up machines, running or off: in full the first time, then only what changed");
        BackupOptionsOnCommandLine.AddTo(command);
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var output = result.Output();
        CheckNames(result);
        // Beside one another, since each waits for somebody else: a repository, a process, the hypervisor.
        await using var opening = new Opening<RepositorySession>(token => result.OpenRepositoryAsync(settings, token), cancellationToken);
        await using var guardians = StartGuardians(result, settings);
        await using var hypervisor = await result.ConnectHypervisorAsync(settings, cancellationToken);
        var chosen = await ChooseAsync(result, hypervisor, cancellationToken);
        await using var repository = await opening.TakeAsync();
        if (result.GetValue(BackupOptionsOnCommandLine.DryRun))
            return await PlanAsync(result, settings, hypervisor, repository, chosen, cancellationToken);

        await new RepositoryCare(repository, TimeProvider.System).RevokeDeadRunsAsync(cancellationToken);
        var points = new ConcurrentBag<PointInfo>();
        var failures = new ConcurrentBag<(KnownMachine Machine, EngineException Error)>();
        var left = 0;
        await using (var progress = new ProgressView(output))
        {
            var context = new BackupContext
            {
                Hypervisor = hypervisor,
                Repository = repository,
                Folders = GlobalOptions.Folders(settings),
                CheckpointFolder = BackupOptionsOnCommandLine.CheckpointFolder(result, settings),
                Guardians = guardians,
                Observer = progress.Receive,
            };
            var parallel = new ParallelOptions
            {
                MaxDegreeOfParallelism = Math.Max(1, result.GetValue(BackupOptionsOnCommandLine.Jobs)),
                CancellationToken = cancellationToken,
            };
            try
            {
                await Parallel.ForEachAsync(chosen, parallel, async (machine, token) =>
                {
                    try
                    {
                        var options = BackupOptionsOnCommandLine.Read(result, settings.Of(machine.Name, machine.Uuid));
                        points.Add(await BackupRun.RunAsync(context, machine.Uuid, options, token));
                    }
                    catch (Exception e) when (e is not OperationCanceledException || !token.IsCancellationRequested)
                    {
                        failures.Add((machine, Failures.Translate(e)));
                    }
                });
            }
            catch (OperationCanceledException) when (points.Count + failures.Count > 0)
            {
                left = chosen.Count - points.Count - failures.Count; // what came before the interruption stands, and is told
            }
        }

        output.Requests(repository.Requests);
        var code = Report(result, output, points, failures, repository.Requests);
        if (left == 0)
            return code;
        UserOutput.Error($"Interrupted; {left} of {chosen.Count} machines were not backed up, what was begun of them was undone.", null);
        return ExitCode.Interrupted;
    }

    private static Guardians StartGuardians(ParseResult result, SettingsFile settings)
    {
        var guardians = new Guardians(
            [.. OwnCommand.Words, GuardianCommand.Name], result.ConnectUri(settings), GlobalOptions.Folders(settings));
        if (!result.GetValue(BackupOptionsOnCommandLine.DryRun))
            guardians.StartAhead();
        return guardians;
    }

    private static void CheckNames(ParseResult result)
    {
        if (result.GetValue(BackupOptionsOnCommandLine.All) == result.GetValue(BackupOptionsOnCommandLine.Machines)!.Length > 0)
            throw EngineException.Usage("Name the machines to back up, or give --all.", "tidemark machines");
    }

    private static async Task<IReadOnlyList<KnownMachine>> ChooseAsync(
        ParseResult result, IHypervisor hypervisor, CancellationToken cancellationToken)
    {
        if (result.GetValue(BackupOptionsOnCommandLine.All))
        {
            var machines = await hypervisor.NamesAsync(cancellationToken);
            return machines.Count > 0 ? machines : throw EngineException.Usage("The hypervisor knows no machine.", "tidemark machines");
        }

        var chosen = new List<KnownMachine>();
        foreach (var name in result.GetValue(BackupOptionsOnCommandLine.Machines)!.Distinct(StringComparer.Ordinal))
            chosen.Add(await hypervisor.LookUpAsync(name, cancellationToken) ?? throw Unknown(name));
        return chosen.DistinctBy(machine => machine.Uuid, StringComparer.Ordinal).ToList();
    }

    private static EngineException Unknown(string name) =>
        EngineException.Usage($"The hypervisor knows no machine '{name}'.", "tidemark machines");

    private static async Task<int> PlanAsync(
        ParseResult result,
        SettingsFile settings,
        IHypervisor hypervisor,
        RepositorySession repository,
        IReadOnlyList<KnownMachine> chosen,
        CancellationToken cancellationToken)
    {
        var plans = new List<MachinePlan>();
        foreach (var known in chosen)
        {
            var machine = await hypervisor.FindAsync(known.Uuid, cancellationToken) ?? throw Unknown(known.Name);
            var options = BackupOptionsOnCommandLine.Read(result, settings.Of(machine.Name, machine.Uuid));
            var plan = await BackupRun.PlanAsync(hypervisor, repository, machine, options, cancellationToken);
            plans.Add(new MachinePlan(
                machine.Name,
                plan.Disks.Select(disk => new PlannedDisk(
                    disk.Disk.Name, disk.Disk.Size, disk.IsIncremental ? "incremental" : "full", disk.Reason)).ToList(),
                plan.NotProtected.Select(disk => new NotProtectedInfo(disk.Name, disk.Reason)).ToList()));
        }

        result.Output().Result(new PlanDocument(plans), CliJson.Default.PlanDocument, Describe);
        return ExitCode.Done;
    }

    private static string Describe(PlanDocument plan)
    {
        var table = new TextTable("MACHINE", "DISK", ">SIZE", "MODE", "REASON");
        foreach (var machine in plan.Machines)
        {
            foreach (var disk in machine.Disks)
                table.Add(machine.Machine, disk.Name, Sizes.Bytes(disk.Size), disk.Mode, disk.Reason);
            foreach (var disk in machine.NotProtected)
                table.Add(machine.Machine, disk.Name, "", "none", disk.Reason);
        }

        return table.ToString();
    }

    private static int Report(
        ParseResult result,
        UserOutput output,
        IReadOnlyCollection<PointInfo> points,
        IReadOnlyCollection<(KnownMachine Machine, EngineException Error)> failures,
        Requests requests)
    {
        var document = new BackupDocument(
            points.OrderBy(point => point.Machine, StringComparer.Ordinal).ToList(),
            failures.Select(failure => new FailedMachine(failure.Machine.Name, failure.Error.Message)).ToList(),
            requests);
        if (output.IsJson || document.Points.Count > 0)
            output.Result(document, CliJson.Default.BackupDocument, Describe);
        foreach (var (machine, error) in failures)
            UserOutput.Error(failures.Count + points.Count > 1 ? $"{machine.Name}: {error.Message}" : error.Message, error.Hint);
        if (failures.Count > 0)
            return failures.Count == 1 && points.Count == 0 ? ExitCode.Of(failures.First().Error.Kind) : ExitCode.Failed;
        var warned = points.Any(point => point.Warnings.Count > 0);
        return warned && result.GetValue(BackupOptionsOnCommandLine.Strict) ? ExitCode.Warnings : ExitCode.Done;
    }

    private static string Describe(BackupDocument document)
    {
        var text = new StringBuilder();
        foreach (var point in document.Points)
        {
            text.AppendLine($"{point.Machine}@{point.Id}  {Sizes.Time(point.Time)} UTC, {point.Consistency}-consistent");
            foreach (var disk in point.Disks)
            {
                text.AppendLine($"  {disk.Name}: {disk.Mode} ({disk.Reason}), read {Sizes.Bytes(disk.ReadBytes)} of "
                    + $"{Sizes.Bytes(disk.Size)}, stored {Sizes.Bytes(disk.StoredBytes)}");
            }

            foreach (var disk in point.NotProtected)
                text.AppendLine($"  {disk.Name}: not protected: {disk.Reason}");
            foreach (var warning in point.Warnings)
                text.AppendLine($"  warning: {warning}");
        }

        return text.ToString().TrimEnd();
    }
}
