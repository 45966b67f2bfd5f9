// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine.Doctor;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark doctor [MACHINE]</c>: what would go wrong, and the command that mends it.</summary>
internal static class DoctorCommand
{
    private static readonly Argument<string?> Machine = new("MACHINE")
    {
        Description = "Look at this machine only",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<bool> Strict = new("--strict") { Description = "End with 3 when there are warnings" };

    public static Command Create()
    {
        var command = new Command("doctor", "What would go wrong, and the command that mends it; changes nothing") { Machine, Strict };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var findings = await DoctorRun.RunAsync(
            new DoctorRequest
            {
                Connect = result.ConnectUri(settings),
                Machine = result.GetValue(Machine),
                Folders = GlobalOptions.Folders(settings),
                GuardianCommand = [.. OwnCommand.Words, GuardianCommand.Name],
                OpenRepository = result.NamesRepository(settings) ? token => result.OpenRepositoryAsync(settings, token) : null,
                OptionsOf = machine => BackupOptionsOnCommandLine.Read(settings.Of(machine.Name, machine.Uuid)),
            },
            cancellationToken);
        var document = new DoctorDocument(
            findings.Select(finding => new FindingDocument(
                finding.Severity.ToString().ToLowerInvariant(), finding.Subject, finding.What, finding.Mend)).ToList(),
            findings.Count(finding => finding.Severity == Severity.Problem),
            findings.Count(finding => finding.Severity == Severity.Warning));
        result.Output().Result(document, CliJson.Default.DoctorDocument, Describe);
        return document switch
        {
            { Problems: > 0 } => ExitCode.Failed,
            { Warnings: > 0 } when result.GetValue(Strict) => ExitCode.Warnings,
            _ => ExitCode.Done,
        };
    }

    private static string Describe(DoctorDocument document)
    {
        const int Indent = 9;
        var text = new StringBuilder();
        foreach (var finding in document.Findings)
        {
            text.AppendLine($"{finding.Severity.PadRight(Indent)}{finding.Subject}: {finding.What}");
            if (finding.Mend is { } mend)
                text.AppendLine($"{new string(' ', Indent)}mend: {mend}");
        }

        return text.Append($"{document.Problems} problems, {document.Warnings} warnings").ToString();
    }
}
