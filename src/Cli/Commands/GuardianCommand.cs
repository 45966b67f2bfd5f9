// SPDX-License-Identifier: Apache-2.0
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;

namespace Tidemark.Cli.Commands;

/// <summary>
/// <c>tidemark guardian CONNECT</c>, for no user: started by <c>backup</c>, see <see cref="Guardian"/>. Every backup waits for it, so it
/// does not go through the parser of commands.
/// </summary>
internal static class GuardianCommand
{
    public const string Name = "guardian";

    /// <param name="connect">The hypervisor; empty for libvirt's default.</param>
    public static async Task<int> RunAsync(string connect)
    {
        try
        {
            await Guardian.RunAsync(
                connect.Length > 0 ? connect : null,
                HostFolders.Default(Environment.GetEnvironmentVariable),
                Console.In,
                Console.Out,
                Hypervisors.ConnectAsync);
            return ExitCode.Done;
        }
        catch (Exception e)
        {
            var failure = Failures.Translate(e);
            UserOutput.Error(failure.Message, failure.Hint);
            return ExitCode.Of(failure.Kind);
        }
    }
}
