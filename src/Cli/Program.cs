// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli;
using Tidemark.Cli.Commands;
using Tidemark.Cli.Output;
using Tidemark.Engine;

if (args is [GuardianCommand.Name, var guarded])
    return await GuardianCommand.RunAsync(guarded);
var root = new RootCommand("Live, incremental-forever backups of KVM/QEMU machines.");
GlobalOptions.AddTo(root);
root.Subcommands.Add(InitCommand.Create());
root.Subcommands.Add(MachinesCommand.Create());
root.Subcommands.Add(BackupCommand.Create());
root.Subcommands.Add(ListCommand.Create());
root.Subcommands.Add(ShowCommand.Create());
root.Subcommands.Add(RestoreCommand.Create());
root.Subcommands.Add(VerifyCommand.Create());
root.Subcommands.Add(ForgetCommand.Create());
root.Subcommands.Add(PruneCommand.Create());
root.Subcommands.Add(GcCommand.Create());
root.Subcommands.Add(StatsCommand.Create());
root.Subcommands.Add(LabelCommands.Protect());
root.Subcommands.Add(LabelCommands.Tag());
root.Subcommands.Add(CopyCommand.Create());
root.Subcommands.Add(KeyCommand.Create());
root.Subcommands.Add(CheckpointCommand.Create());
root.Subcommands.Add(DoctorCommand.Create());

var parsed = root.Parse(args);
if (parsed.Errors.Count > 0)
{
    var words = args.TakeWhile(word => !word.StartsWith('-')).Take(1);
    UserOutput.Error(parsed.Errors[0].Message, $"tidemark {string.Join(' ', words)} --help");
    return ExitCode.Usage;
}

var verbosity = args.Count(word => word is "-v" or "--verbose") + (args.Contains("-vv", StringComparer.Ordinal) ? 2 : 0);
try
{
    return await parsed.InvokeAsync(new InvocationConfiguration
    {
        EnableDefaultExceptionHandler = false,
        // Long enough for a frozen point to be ended and a guest to be thawed.
        ProcessTerminationTimeout = TimeSpan.FromMinutes(3),
    });
}
catch (EngineException e)
{
    UserOutput.Error(e.Message, e.Hint);
    if (verbosity > 1)
        await Console.Error.WriteLineAsync(e.ToString());
    return ExitCode.Of(e.Kind);
}
catch (OperationCanceledException)
{
    UserOutput.Error("Interrupted; what was begun was undone, what was done before stays.", null);
    return ExitCode.Interrupted;
}
catch (Exception e)
{
    var failure = Failures.Translate(e);
    UserOutput.Error(failure.Message, failure.Hint);
    if (verbosity > 1)
        await Console.Error.WriteLineAsync(e.ToString());
    return ExitCode.Of(failure.Kind);
}
