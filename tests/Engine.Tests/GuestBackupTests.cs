// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text.Json.Nodes;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Lab;
using Tidemark.Lab.Guests;

namespace Tidemark.Engine.Tests;

/// <summary>A guest that writes through all of it: what it had made durable is in every point, and it is never held for long.</summary>
public sealed class GuestBackupTests(LabFixture fixture)
{
    private static CancellationToken Token => EngineLab.Token;

    [Fact]
    public async Task EveryPointOfASeries_IsCleanAndHoldsEveryAcknowledgedFile()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var guest = await EngineGuest.StartAsync(lab, "series");
        var points = new List<(PointInfo Point, long Before, long After)>();
        foreach (var quiesce in (Quiesce[])[Quiesce.Auto, Quiesce.Require, Quiesce.Auto, Quiesce.Off])
        {
            await guest.WorkAsync(25);
            var before = guest.Log.Position;
            var point = await guest.BackUpAsync(new BackupOptions { Quiesce = quiesce });
            await guest.WorkAsync(10); // the line of a deletion reaches the log a little after the disk
            points.Add((point, before, guest.Log.Position));
            Assert.Equal(quiesce == Quiesce.Off ? "crash" : "filesystem", point.Consistency);
            Assert.Empty(point.Warnings);
            Assert.Equal(points.Count == 1 ? "full" : "incremental", Assert.Single(point.Disks).Mode);
            await guest.AssertUntouchedAsync(checkpoints: 1);
        }

        foreach (var (point, before, after) in points)
        {
            var files = await guest.Log.FilesAsync(before, after, Token);
            Assert.True(files.Count > 5, $"Only {files.Count} files are required of point {point.Seq}.");
            var image = (await lab.RestoreAsync(point))["vda"];
            (await GuestFiles.VerifyAsync(image, files, frozen: point.Consistency == "filesystem", Token)).EnsureWhole();
        }
    }

    [Fact]
    public async Task NoAgent_AutoSaysSo_AndRequireRefuses()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "silent", new LabMachineOptions { AgentChannel = true }, [new LabDisk("vda", 1 << 20)], Token);
        await machine.Domain.ResumeAsync(Token);
        var error = await Assert.ThrowsAsync<EngineException>(
            () => lab.BackUpAsync(machine, new BackupOptions { Quiesce = Quiesce.Require }));
        Assert.Contains("no agent that answers, and a freeze was required", error.Message, StringComparison.Ordinal);
        await lab.AssertCleanAsync(machine, checkpoints: 0);

        var point = await lab.BackUpAsync(machine);
        Assert.Equal("crash", point.Consistency);
        Assert.Contains("no agent that answers", Assert.Single(point.Warnings), StringComparison.Ordinal);
        Assert.Empty((await lab.BackUpAsync(machine, new BackupOptions { Quiesce = Quiesce.Off })).Warnings);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task HungAgentOfAFrozenGuest_CannotHangUs_AndTheGuestIsThawedWhenItLivesAgain()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var guest = await EngineGuest.StartAsync(lab, "hung");
        var hung = await HangAgentAsync(guest, seconds: 60, frozen: true);

        var reached = new Dictionary<Runs.RunStep, long>();
        lab.AtStep = step => reached.TryAdd(step, Stopwatch.GetTimestamp());
        var point = await guest.BackUpAsync();
        // 30 s for the agent, and a little for everything else there is between these steps.
        var waited = Stopwatch.GetElapsedTime(reached[Runs.RunStep.Guarded], reached[Runs.RunStep.Frozen]);
        Assert.InRange(waited.TotalSeconds, 0, 33);
        Assert.Equal("crash", point.Consistency);
        Assert.Contains(point.Warnings, warning => warning.Contains("did not freeze", StringComparison.Ordinal));
        Assert.InRange(Stopwatch.GetElapsedTime(hung, reached[Runs.RunStep.Begun]).TotalSeconds, 0, 59); // it was not back before that

        // Now it comes back, with the file systems frozen; nobody runs but the guardian.
        await guest.WaitUntilNothingIsOwedAsync(TimeSpan.FromSeconds(120));
        await guest.AssertUntouchedAsync(checkpoints: 1);
        Assert.Equal("filesystem", (await guest.BackUpAsync()).Consistency);
        await guest.AssertUntouchedAsync(checkpoints: 1);
    }

    [Fact]
    public async Task HungAgent_WhenAFreezeIsRequired_FailsInTimeAndLeavesNothing()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var guest = await EngineGuest.StartAsync(lab, "hungrequired");
        await HangAgentAsync(guest, seconds: 80, frozen: false);

        var begun = Stopwatch.GetTimestamp();
        await using (var examiner = await Hypervisors.ExamineAsync(lab.Host.Uri, Token))
        {
            var facts = await examiner.ReadMachineAsync(guest.Domain.Uuid.ToString("d"), Token);
            Assert.Equal(Doctor.Facts.AgentState.Silent, facts.Agent);
            Assert.InRange(Stopwatch.GetElapsedTime(begun).TotalSeconds, 4, 12);
        }

        begun = Stopwatch.GetTimestamp();
        var error = await Assert.ThrowsAsync<EngineException>(() => guest.BackUpAsync(new BackupOptions { Quiesce = Quiesce.Require }));
        // 30 s for the freeze, then thaws that are given 5 s each, then the guardian takes over.
        Assert.InRange(Stopwatch.GetElapsedTime(begun).TotalSeconds, 0, 60);
        Assert.Contains("a freeze was required", error.Message, StringComparison.Ordinal);
        await guest.WorkAsync(2);

        await guest.WaitUntilNothingIsOwedAsync(TimeSpan.FromSeconds(120));
        await guest.AssertUntouchedAsync(checkpoints: 0);
    }

    [Fact]
    public async Task Hooks_RunInOrderAroundTheFreeze_WithTheGuestThawed_EvenWhenTheLastOneFails()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var guest = await EngineGuest.StartAsync(lab, "hooked");
        var file = lab.PathOf("hooks");
        var status = $"virsh -q -c '{lab.Host.Uri}' qemu-agent-command hooked '{{\"execute\":\"guest-fsfreeze-status\"}}'";
        var say = $"echo $TIDEMARK_HOOK $TIDEMARK_MACHINE $({status}) >> {file}";
        lab.AtStep = step => File.AppendAllText(file, step is Runs.RunStep.Frozen or Runs.RunStep.Thawed ? $"{step}\n" : "");
        var point = await guest.BackUpAsync(new BackupOptions
        {
            BeforeFreeze = [$"echo first >> {file}", say],
            AfterThaw = [say, "echo the database is stuck >&2; exit 3"],
        });
        const string thawed = "hooked {\"return\":\"thawed\"}";
        Assert.Equal(
            ["first", $"before-freeze {thawed}", "Frozen", "Thawed", $"after-thaw {thawed}"], await File.ReadAllLinesAsync(file, Token));
        Assert.Equal("filesystem", point.Consistency);
        Assert.Contains("the database is stuck", Assert.Single(point.Warnings), StringComparison.Ordinal);
        await guest.AssertUntouchedAsync(checkpoints: 1);
    }

    [Fact]
    public async Task FailingHookBeforeTheFreeze_EndsTheRun_AndLeavesNothing()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "prehook", new LabDisk("vda", 1 << 20));
        var file = lab.PathOf("hooks");
        var steps = new List<Runs.RunStep>();
        lab.AtStep = steps.Add;
        var error = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine, new BackupOptions
        {
            BeforeFreeze = ["echo the disk is full; exit 7", $"echo never >> {file}"],
            AfterThaw = [$"echo undone >> {file}"],
        }));
        Assert.Contains("before-freeze", error.Message, StringComparison.Ordinal);
        Assert.Contains("exit code 7", error.Message, StringComparison.Ordinal);
        Assert.Contains("the disk is full", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Runs.RunStep.Frozen, steps);
        // What the first hooks did up to their failure is undone.
        Assert.Equal("undone\n", await File.ReadAllTextAsync(file, Token));
        Assert.Empty((await lab.Repository.PointsAsync(Token)).Points);
        await lab.AssertCleanAsync(machine, checkpoints: 0);
        await machine.StopAsync(Token);
    }

    // The agent is stopped a second after it was asked to; a freeze of its file systems, sent in that second, is one that got through.
    private static async Task<long> HangAgentAsync(EngineGuest guest, int seconds, bool frozen)
    {
        var pause = new JsonObject { ["path"] = "/bin/agent-pause", ["arg"] = new JsonArray($"{seconds}") };
        await guest.Commands.ExecuteAsync("guest-exec", Token, pause);
        var asked = Stopwatch.GetTimestamp();
        if (frozen)
            Assert.Equal(1, (await guest.Commands.ExecuteAsync("guest-fsfreeze-freeze", Token)).GetInt32());
        await Task.Delay(2000, Token);
        return asked;
    }
}
