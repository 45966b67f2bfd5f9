// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Diagnostics;

namespace Tidemark.Qemu;

/// <summary>
/// A child process that never outlives us: disposing ends it (SIGTERM, after a grace period SIGKILL), and the kernel sends it SIGTERM
/// when we die without having disposed, SIGKILL included. It runs in a session of its own, so that Ctrl-C reaches us alone and we
/// decide the order of ending. Its standard input is empty; of what it writes, the last part is kept for messages.
/// </summary>
public sealed class OwnedProcess : IAsyncDisposable
{
    private const int KeptErrorBytes = 8 << 10; // enough for any message; a chatty tool must not fill our memory
    private const int KeptOutputBytes = 64 << 20; // output is JSON of one image; a list of thousands of snapshots still fits
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(10);

    private readonly Process _process;
    private readonly string _tool;
    private readonly Task<string> _output;
    private readonly Task<string> _errors;
    private readonly Task<int> _ended;

    private OwnedProcess(string tool, Process process)
    {
        _tool = tool;
        _process = process;
        _process.StandardInput.Close();
        _output = ReadTailAsync(process.StandardOutput, KeptOutputBytes);
        _errors = ReadTailAsync(process.StandardError, KeptErrorBytes);
        _ended = WaitAsync();
    }

    public int Id => _process.Id;

    /// <summary>Completes with the exit code (128 + n after signal n) when the process has ended; never fails.</summary>
    public Task<int> Ended => _ended;

    /// <summary>What it wrote to standard output; completes when the process has closed it.</summary>
    public Task<string> Output => _output;

    /// <summary>What it wrote to standard error; completes when the process has closed it.</summary>
    public Task<string> Errors => _errors;

    /// <summary>Starts a program.</summary>
    /// <exception cref="ImageToolException">It is not installed or could not be started.</exception>
    public static async Task<OwnedProcess> StartAsync(string tool, IEnumerable<string> arguments, string? workingFolder = null)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        var start = new ProcessStartInfo(ToolPath.Find("setsid"))
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = workingFolder ?? "/",
        };
        start.Environment["LC_ALL"] = "C.UTF-8";
        string[] wrapper = [ToolPath.Find("setpriv"), "--pdeathsig", "TERM", "--", ToolPath.Find(tool)];
        foreach (var argument in wrapper.Concat(arguments))
            start.ArgumentList.Add(argument);
        try
        {
            return new OwnedProcess(tool, await ProcessStarter.StartAsync(start));
        }
        catch (Win32Exception e)
        {
            throw new ImageToolException(tool, null, "", $"The program '{tool}' could not be started: {e.Message.TrimEnd('.')}.");
        }
    }

    /// <summary>Runs a program to its end and returns its standard output. <paramref name="doing"/> completes "failed to …".</summary>
    /// <exception cref="ImageToolException">Its exit code is not in <paramref name="accepted"/> (0 when absent).</exception>
    public static async Task<(int ExitCode, string Output)> RunAsync(
        string tool,
        IEnumerable<string> arguments,
        string doing,
        CancellationToken cancellationToken,
        IReadOnlyCollection<int>? accepted = null)
    {
        await using var process = await StartAsync(tool, arguments);
        var exitCode = await process._ended.WaitAsync(cancellationToken);
        var output = await process._output;
        if (accepted is null ? exitCode != 0 : !accepted.Contains(exitCode))
            throw ImageToolException.Failed(tool, doing, exitCode, await process._errors);
        return (exitCode, output);
    }

    /// <summary>Asks the process to end, insists after the grace period, and returns its exit code.</summary>
    public async Task<int> StopAsync(TimeSpan? grace = null)
    {
        if (_ended.IsCompleted)
            return await _ended;
        ProcessStarter.Signal(_process, ProcessStarter.Terminate);
        try
        {
            return await _ended.WaitAsync(grace ?? Grace);
        }
        catch (TimeoutException)
        {
            Kill();
            return await _ended;
        }
    }

    /// <summary>Ends the process at once, without any chance to clean up.</summary>
    public void Kill() => _process.Kill();

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process.Dispose();
    }

    internal async Task<ImageToolException> FailureAsync(string doing) =>
        ImageToolException.Failed(_tool, doing, await _ended, await _errors);

    private static async Task<string> ReadTailAsync(StreamReader reader, int limit)
    {
        var kept = new System.Text.StringBuilder();
        var buffer = new char[4096];
        try
        {
            for (int count; (count = await reader.ReadAsync(buffer)) > 0;)
            {
                kept.Append(buffer, 0, count);
                if (kept.Length > 2 * limit)
                    kept.Remove(0, kept.Length - limit);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The process is gone or was disposed while a grandchild still holds the pipe: what was read until now is the answer.
        }

        return kept.ToString().Trim();
    }

    private async Task<int> WaitAsync()
    {
        await _process.WaitForExitAsync();
        return _process.ExitCode;
    }
}
