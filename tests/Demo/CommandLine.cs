// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Qemu;

namespace Tidemark.Demo;

/// <summary>The command line as its users have it: a child process, settings in the environment, one JSON document as result.</summary>
internal sealed class CommandLine
{
    // Longer than a backup needs to end its frozen point and to thaw the guest.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(90);

    private readonly string _program;
    private readonly Screen _screen;

    public CommandLine(string program, Screen screen, IReadOnlyDictionary<string, string> settings)
    {
        _program = program;
        _screen = screen;
        var inherited = Environment.GetEnvironmentVariables().Keys.Cast<string>();
        foreach (var old in inherited.Where(name => name.StartsWith("TIDEMARK_", StringComparison.Ordinal)))
            Environment.SetEnvironmentVariable(old, null);
        foreach (var (name, value) in settings)
            Environment.SetEnvironmentVariable(name, value);
    }

    /// <summary>Runs a command, shown as a user would type it, and returns its result.</summary>
    /// <exception cref="OffException">It failed; with its own words.</exception>
    public async Task<JsonElement> RunAsync(CancellationToken cancellationToken, params string[] words)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _screen.Command(words);
        await using var process = await OwnedProcess.StartAsync(_program, [.. words, "--json", "--progress", "none"]);
        try
        {
            var code = await process.Ended.WaitAsync(cancellationToken);
            if (code != 0)
                throw new OffException($"'tidemark {string.Join(' ', words)}' ended with exit code {code}: {await process.Errors}");
            using var document = JsonDocument.Parse(await process.Output);
            return document.RootElement.Clone();
        }
        catch (OperationCanceledException)
        {
            await process.StopAsync(Grace);
            throw;
        }
        catch (JsonException e)
        {
            throw new OffException($"'tidemark {string.Join(' ', words)}' did not print one JSON document: {e.Message}", e);
        }
    }
}
