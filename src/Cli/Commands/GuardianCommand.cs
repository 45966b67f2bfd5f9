// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark guardian</c>, hidden: started by <c>backup</c> itself, see <see cref="Guardian"/>.</summary>
internal static class GuardianCommand
{
    private static readonly Argument<string> Connection = new("CONNECT");

    public static Command Create()
    {
        var command = new Command("guardian", "Watches over a backup run; started by it") { Connection };
        command.Hidden = true;
        command.SetAction(async (result, _) =>
        {
            await Guardian.RunAsync(
                result.GetValue(Connection) is { Length: > 0 } uri ? uri : null, HostFolders.Default(), Console.In, Console.Out, Hypervisors.ConnectAsync);
            return ExitCode.Done;
        });
        return command;
    }
}
