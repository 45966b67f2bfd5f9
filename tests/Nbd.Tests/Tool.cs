// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Tidemark.Nbd.Tests;

/// <summary>A real NBD server as a process of the test, ended by its handle; and one-shot runs of tools.</summary>
internal sealed class Tool : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task<string> _errors;

    private Tool(Process process)
    {
        _process = process;
        _errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>Starts a server and returns when something listens at the unix socket, or when it takes connections at the port.</summary>
    public static async Task<Tool> ServeAsync(string listening, string name, params string[] arguments)
    {
        var tool = new Tool(Start(name, arguments));
        for (var clock = Stopwatch.StartNew(); ; await Task.Delay(10, TestContext.Current.CancellationToken))
        {
            if (tool._process.HasExited)
                throw new InvalidOperationException($"'{name}' ended with code {tool._process.ExitCode}: {await tool._errors}");
            if (int.TryParse(listening, out var port) ? Listens(port) : Listens(listening))
                return tool;
            if (clock.Elapsed > TimeSpan.FromSeconds(20))
                throw new InvalidOperationException($"'{name}' did not listen at '{listening}' within 20 s.");
        }
    }

    /// <summary>Runs a tool to its end and returns what it printed.</summary>
    public static async Task<string> RunAsync(string name, params string[] arguments)
    {
        await using var tool = new Tool(Start(name, arguments));
        var output = await tool._process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await tool._process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return tool._process.ExitCode == 0
            ? output
            : throw new InvalidOperationException(
                $"'{name} {string.Join(' ', arguments)}' ended with code {tool._process.ExitCode}: {await tool._errors}");
    }

    /// <summary>A TCP port that was free a moment ago.</summary>
    public static int FreePort()
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    public void Kill() => _process.Kill();

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync(CancellationToken.None);
        await _errors;
        _process.Dispose();
    }

    private static Process Start(string name, string[] arguments) => Process.Start(new ProcessStartInfo(name, arguments)
    {
        UseShellExecute = false,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
        RedirectStandardInput = true,
    })!;

    // A socket's file is there a moment before anyone listens; flag 0x10000 (__SO_ACCEPTCON) says that one does.
    private static bool Listens(string path) => File.ReadLines("/proc/net/unix").Any(line =>
        line.EndsWith(" " + path, StringComparison.Ordinal) && line.Contains(" 00010000 ", StringComparison.Ordinal));

    // Looking at the kernel's table leaves no stray connection in a server's negotiation.
    private static bool Listens(int port) =>
        System.Net.NetworkInformation.IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners().Any(end => end.Port == port);
}
