// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text.Json;
using Tidemark.Cli.Tests;
using Tidemark.Lab;

[assembly: AssemblyFixture(typeof(LabFixture))]

namespace Tidemark.Cli.Tests;

/// <summary>One private libvirt host for all tests.</summary>
public sealed class LabFixture : IAsyncLifetime
{
    public LabHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Host = await LabHost.StartAsync(TestContext.Current.CancellationToken);

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}

/// <summary>What a run of the command came to.</summary>
public sealed record Outcome(int ExitCode, string Output, string Errors)
{
    public JsonElement Json => JsonDocument.Parse(Output).RootElement;

    /// <summary>Fails unless it ended with this code and its error line holds the text.</summary>
    public void AssertRefused(int exitCode, string text)
    {
        Assert.True(exitCode == ExitCode, $"Exit code {ExitCode}, expected {exitCode}: {Errors}");
        var line = Assert.Single(Errors.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal));
        Assert.Contains(text, line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", Errors, StringComparison.Ordinal);
    }

    public Outcome AssertDone()
    {
        Assert.True(ExitCode == 0, $"Exit code {ExitCode}: {Errors}");
        return this;
    }
}

/// <summary>The real command as a child process, with folders of its own.</summary>
public sealed class CommandLine : IDisposable
{
    public CommandLine(LabHost host)
    {
        Directory.CreateDirectory(Root);
        Environment = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["TIDEMARK_REPO"] = Repository,
            ["TIDEMARK_KEY_FILE"] = Path.Combine(Root, "key"),
            ["TIDEMARK_CONNECT"] = host.Uri,
            ["TIDEMARK_STATE"] = Path.Combine(Root, "state"),
            ["TIDEMARK_SCRATCH"] = host.CreateFolder($"c{Guid.NewGuid().ToString("n")[..6]}"),
        };
    }

    public static CancellationToken Token => TestContext.Current.CancellationToken;

    public string Root { get; } = Path.Combine(Path.GetTempPath(), $"tc-{Guid.NewGuid().ToString("n")[..8]}");

    public string Repository => Path.Combine(Root, "repository");

    public Dictionary<string, string> Environment { get; }

    /// <summary>Words before the command: a program that runs it in another way.</summary>
    public IReadOnlyList<string> As { get; set; } = [];

    private static string Dll
    {
        get
        {
            var here = AppContext.BaseDirectory.TrimEnd('/');
            var project = here.IndexOf("/tests/", StringComparison.Ordinal);
            var build = here.IndexOf("/bin/", project, StringComparison.Ordinal);
            return $"{here[..project]}/src/Cli{here[build..]}/tidemark.dll";
        }
    }

    public Task<Outcome> RunAsync(params string[] arguments) => RunAsync(_ => Task.CompletedTask, arguments);

    /// <summary>Runs the command, and <paramref name="meanwhile"/> beside it with its process.</summary>
    public async Task<Outcome> RunAsync(Func<Process, Task> meanwhile, params string[] arguments)
    {
        string[] words = [.. As, "dotnet", "exec", Dll, .. arguments];
        var start = new ProcessStartInfo(words[0], words[1..])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        foreach (var (name, value) in Environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(Token);
        var errors = process.StandardError.ReadToEndAsync(Token);
        await meanwhile(process);
        await process.WaitForExitAsync(Token);
        return new Outcome(process.ExitCode, await output, await errors);
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
