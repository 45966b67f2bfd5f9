// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Runs;

namespace Tidemark.Storm.Tests;

internal sealed partial class Storm
{
    private const int Killed = 128 + 9;
    private static readonly TimeSpan GuardianPatience = TimeSpan.FromSeconds(60);

    private async Task KillQemuAsync()
    {
        await _machine.KillAsync(Token);
        await _machine.StartAsync(Token);
        Excuse("kill QEMU", _machine.Disks);
    }

    private async Task RestartAsync()
    {
        await _machine.StopAsync(Token);
        await _machine.StartAsync(Token);
    }

    private Task SaveAsync() => MayBeRefusedAsync(() => _machine.SaveAndRestoreAsync(Token));

    private async Task KillLibvirtdAsync()
    {
        var kill = _random.Next(2) == 0;
        Say(kill ? "killed" : "stopped");
        await _at.Lab.StopDaemonAsync(kill, Token);
        await _at.Lab.StartDaemonAsync(Token);
    }

    private async Task DefineAnewAsync()
    {
        await _machine.StopAsync(Token);
        await _machine.DefineAnewAsync(Token);
        await _machine.StartAsync(Token);
    }

    private async Task MigrateAsync()
    {
        var target = _hosts.Single(host => host != _at);
        var forget = _random.Next(2) == 0;
        Say($"to {target.Name}{(forget ? "" : ", its definition stays")}");
        await MayBeRefusedAsync(() => _machine.MigrateAsync(target.Lab, forget, cancellationToken: Token));
        _at = target;
    }

    private async Task KillUsAsync()
    {
        var step = (RunStep)_random.Next((int)RunStep.Recovered, (int)RunStep.Cleared + 1);
        var takesGuardian = _random.Next(2) == 0;
        Say($"at {step}{(takesGuardian ? " with the guardian" : "")}");
        var truth = await TruthAsync();
        var (exitCode, error) = await RunWorkerAsync(step, takesGuardian);
        Assert.True(exitCode == Killed, $"The worker was to be killed at {step} and ended with {exitCode}: {error}");
        if (!takesGuardian && step >= RunStep.Guarded)
            await AwaitGuardianAsync();
        await NoteNewPointsAsync(truth);
    }

    private async Task<(int ExitCode, string Error)> RunWorkerAsync(RunStep step, bool takesGuardian)
    {
        string[] arguments =
        [
            "exec", Built("tests/Worker", "Tidemark.Worker.dll"), _machine.Domain.Uuid.ToString("d"), $"{step}", .. GuardianCommand,
        ];
        var start = new ProcessStartInfo("dotnet", arguments)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardError = true,
        };
        start.Environment["TIDEMARK_REPO"] = RepositoryFolder;
        start.Environment["TIDEMARK_KEY_FILE"] = KeyFile;
        start.Environment["TIDEMARK_CONNECT"] = _at.Lab.Uri;
        start.Environment["TIDEMARK_STATE"] = _at.Folders.State;
        start.Environment["TIDEMARK_SCRATCH"] = _at.Folders.Scratch;
        if (takesGuardian)
            start.Environment["WORKER_TAKES_GUARDIAN"] = "1";
        using var worker = Process.Start(start)!;
        var error = worker.StandardError.ReadToEndAsync(Token);
        await worker.WaitForExitAsync(Token);
        return (worker.ExitCode, await error);
    }

    private async Task AwaitGuardianAsync()
    {
        var died = Stopwatch.GetTimestamp();
        while (Directory.GetFileSystemEntries(_at.Folders.Journal).Length > 0)
        {
            Assert.True(Stopwatch.GetElapsedTime(died) < GuardianPatience, "The guardian has not cleaned up within a minute.");
            await Task.Delay(20, Token);
        }
    }
}
