// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Tests;

/// <summary>Hooks as processes: what Ctrl-C reaches, and what they leave behind.</summary>
public sealed class HooksTests : IDisposable
{
    private readonly string _log = Path.GetTempFileName();

    /// <summary>Ctrl-C goes to the terminal's process group; a hook that undoes another must not be ended by it.</summary>
    [Fact]
    public async Task Hook_RunsInASessionOfItsOwn()
    {
        await RunAsync($"ps -o sid= -p $$ > {_log}; echo $$ >> {_log}");
        var lines = (await File.ReadAllLinesAsync(_log, EngineLab.Token)).Select(line => line.Trim()).ToArray();
        Assert.Equal(lines[1], lines[0]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task WhatAHookLeavesInTheBackground_IsNotWaitedFor(int exitCode)
    {
        var started = Stopwatch.GetTimestamp();
        var hook = RunAsync($"echo the session is open; sleep 60 & echo $! > {_log}; exit {exitCode}");
        if (exitCode == 0)
            await hook;
        else
            Assert.Contains("session is open", (await Assert.ThrowsAsync<EngineException>(() => hook)).Message, StringComparison.Ordinal);
        Assert.True(Stopwatch.GetElapsedTime(started) < TimeSpan.FromSeconds(30));
        using var left = Process.GetProcessById(int.Parse(await File.ReadAllTextAsync(_log, EngineLab.Token)));
        Assert.False(left.HasExited);
        left.Kill();
    }

    [Fact]
    public async Task HookThatSaysMuch_DoesNotStandStill()
    {
        var error = await Assert.ThrowsAsync<EngineException>(() => RunAsync("yes | head -c 1000000; exit 4"));
        Assert.Contains("exit code 4", error.Message, StringComparison.Ordinal);
        Assert.InRange(error.Message.Length, 100, 600);
    }

    public void Dispose() => File.Delete(_log);

    private static Task RunAsync(string command) => Hooks.RunAsync("before-freeze", [command], "machine", "uuid", EngineLab.Token);
}
