// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Tidemark.Lab;

namespace Tidemark.Bench;

/// <summary>What one process came to, from its start to its exit, its children included.</summary>
/// <param name="Wall">Seconds.</param>
/// <param name="Cpu">Seconds, user and system together.</param>
/// <param name="Memory">Largest resident set of one process, bytes.</param>
/// <param name="Output">Its standard output.</param>
/// <param name="Errors">Its standard error.</param>
internal sealed record Measured(double Wall, double Cpu, long Memory, string Output, string Errors);

/// <summary>Runs processes and measures them, by time(1): the kernel's own account of a dead child.</summary>
internal sealed class Command(Bench bench)
{
    private readonly Dictionary<string, string> _environment = [];

    public Command With(string name, string value)
    {
        _environment[name] = value;
        return this;
    }

    /// <summary>Runs a program that must succeed. What earlier ones left to write is written before.</summary>
    public async Task<Measured> RunAsync(string program, params string[] arguments)
    {
        await Tool.RunAsync("sync", [], bench.Token);
        var report = bench.PathOf($"time-{Path.GetRandomFileName()}");
        var start = new ProcessStartInfo("/usr/bin/time", ["-q", "-f", "%e %U %S %M", "-o", report, program, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var (name, value) in _environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(bench.Token);
        var errors = process.StandardError.ReadToEndAsync(bench.Token);
        await process.WaitForExitAsync(bench.Token);
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException(
                $"'{program} {string.Join(' ', arguments)}' ended with {process.ExitCode}: {await output}{await errors}");
        }

        var numbers = (await File.ReadAllTextAsync(report, bench.Token)).Trim().Split(' ')
            .Select(text => double.Parse(text, CultureInfo.InvariantCulture)).ToList();
        File.Delete(report);
        return new Measured(numbers[0], numbers[1] + numbers[2], (long)numbers[3] << 10, await output, await errors);
    }
}
