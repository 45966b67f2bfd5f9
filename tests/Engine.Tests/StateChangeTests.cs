// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Engine.Runs;
using Tidemark.Lab;
using Tidemark.Libvirt;

namespace Tidemark.Engine.Tests;

/// <summary>
/// Running machines that stop, start again, are reset, saved or undefined in the middle of their backup: the run fails clean or
/// finishes right, and the next one, live or of the stopped machine, is exact.
/// </summary>
public sealed class StateChangeTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    /// <summary>Whoever looks at all machines is not disturbed by one that goes between two of its questions.</summary>
    [Fact]
    public async Task MachinesThatStopWhileTheyAreListed_AreListed()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("c-listed", lab);
        for (var time = 0; time < 8; time++)
        {
            var isDead = false;
            var looking = Enumerable.Range(0, 4).Select(_ => LookAsync(() => isDead)).ToList();
            await Task.Delay(20 + time, EngineLab.Token);
            await machine.KillAsync(EngineLab.Token);
            isDead = true;
            await Task.WhenAll(looking);
            await machine.StartAsync(EngineLab.Token);
        }

        async Task LookAsync(Func<bool> isOver)
        {
            while (!isOver())
            {
                var found = await lab.Hypervisor.FindAsync(machine.Name, EngineLab.Token);
                Assert.Equal(["vda", "vdb"], found!.Disks.Select(disk => disk.Name));
            }
        }

        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Guarded, false)]
    [InlineData(RunStep.Frozen, false)]
    [InlineData(RunStep.Begun, false)]
    [InlineData(RunStep.Connected, false)]
    [InlineData(RunStep.FirstDiskRead, false)]
    [InlineData(RunStep.AllDisksRead, false)]
    [InlineData(RunStep.Ended, true)] // all was read, and the job had served it until its end
    [InlineData(RunStep.Stored, true)]
    [InlineData(RunStep.Committed, true)]
    public async Task Stopped(RunStep step, bool finishes)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"c-stop-{step}", lab);
        await RunAsync(lab, machine, step, finishes, () => machine.StopAsync(EngineLab.Token));
        await NextAsync(lab, machine, "incremental");
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 0, 4096, 0x51, EngineLab.Token);
        await NextAsync(lab, machine, "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Frozen, false)]
    [InlineData(RunStep.Begun, false)]
    [InlineData(RunStep.Connected, false)]
    [InlineData(RunStep.AllDisksRead, false)]
    [InlineData(RunStep.Ended, true)]
    [InlineData(RunStep.Stored, true)]
    public async Task StoppedAndStarted(RunStep step, bool finishes)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"c-blink-{step}", lab);
        await RunAsync(lab, machine, step, finishes, async () =>
        {
            await machine.StopAsync(EngineLab.Token);
            await machine.StartAsync(EngineLab.Token);
            await machine.WriteAsync("vdb", 0, 4096, 0x52, EngineLab.Token);
        });
        await NextAsync(lab, machine, "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Begun, false)]
    [InlineData(RunStep.Connected, false)]
    [InlineData(RunStep.AllDisksRead, false)]
    [InlineData(RunStep.Ended, true)]
    [InlineData(RunStep.Stored, true)]
    public async Task KilledQemu_TheNextRunIsFullAndExact(RunStep step, bool finishes)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"c-kill-{step}", lab);
        await machine.FlushAsync("vda", EngineLab.Token);
        await machine.FlushAsync("vdb", EngineLab.Token);
        await RunAsync(lab, machine, step, finishes, () => machine.KillAsync(EngineLab.Token));
        await NextAsync(lab, machine, "full");
        await machine.StartAsync(EngineLab.Token);
        await NextAsync(lab, machine, "full");
        await lab.AssertCleanAsync(machine);
        await machine.WriteAsync("vda", 0, 4096, 0x53, EngineLab.Token);
        await NextAsync(lab, machine, "incremental");
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Begun)]
    [InlineData(RunStep.AllDisksRead)]
    [InlineData(RunStep.Stored)]
    public async Task ResetPausedAndResumed_FinishesRight(RunStep step)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"c-reset-{step}", lab);
        await RunAsync(lab, machine, step, finishes: true, async () =>
        {
            await machine.VirshAsync(["reset", machine.Name], EngineLab.Token);
            await machine.Domain.ResumeAsync(EngineLab.Token);
            await machine.Domain.SuspendAsync(EngineLab.Token);
        });
        await NextAsync(lab, machine, "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Connected, "managedsave")]
    [InlineData(RunStep.Ended, "managedsave")]
    [InlineData(RunStep.Connected, "save")]
    public async Task Saved_WaitsForTheRunAndIsThenDone(RunStep step, string how)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"c-{how}-{step}", lab);
        var file = Path.Combine(fixture.Host.Folder, $"{machine.Name}.saved");
        var saving = Task.CompletedTask;
        await RunAsync(lab, machine, step, finishes: true, cleansLater: true, happen: async () =>
        {
            saving = machine.VirshAsync(how == "save" ? [how, machine.Name, file] : [how, machine.Name], EngineLab.Token);
            await Task.Delay(500, EngineLab.Token); // libvirt has it, and lets it wait while the job lasts
        });
        await saving;
        // What the save kept from being cleaned up, the guardian cleans up.
        for (var begun = TimeProvider.System.GetTimestamp(); Directory.EnumerateFiles(lab.Folders.Journal).Any();)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(begun) < TimeSpan.FromSeconds(60), "A journal entry is still there.");
            await Task.Delay(100, EngineLab.Token);
        }

        OfflineLab.AssertNothingLeft(lab);
        Assert.False((await machine.Domain.GetStatusAsync(EngineLab.Token)).IsActive);
        Assert.Equal("crash", (await NextAsync(lab, machine, "incremental")).Consistency);
        await machine.VirshAsync(how == "save" ? ["restore", file] : ["start", machine.Name], EngineLab.Token);
        await machine.WriteAsync("vda", 0, 4096, 0x54, EngineLab.Token);
        await NextAsync(lab, machine, "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Connected)]
    [InlineData(RunStep.Stored)]
    public async Task UndefinedWhileItRuns_FinishesRight(RunStep step)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"c-undef-{step}", lab);
        var xml = lab.PathOf("machine.xml");
        await File.WriteAllTextAsync(xml, await machine.Domain.GetXmlAsync(DomainXmlFlags.Inactive, EngineLab.Token), EngineLab.Token);
        await RunAsync(lab, machine, step, finishes: true, () => machine.VirshAsync(["undefine", machine.Name], EngineLab.Token));
        await machine.WriteAsync("vda", 0, 4096, 0x55, EngineLab.Token);
        await NextAsync(lab, machine, "incremental"); // transient now
        await machine.VirshAsync(["define", xml], EngineLab.Token);
        await machine.WriteAsync("vda", 8192, 4096, 0x56, EngineLab.Token);
        await NextAsync(lab, machine, "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task TransientMachineThatStops_FailsClean()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("c-transient", lab);
        var xml = lab.PathOf("machine.xml");
        await File.WriteAllTextAsync(xml, await machine.Domain.GetXmlAsync(DomainXmlFlags.Inactive, EngineLab.Token), EngineLab.Token);
        await machine.VirshAsync(["undefine", machine.Name], EngineLab.Token);
        await RunAsync(lab, machine, RunStep.Connected, finishes: false, () => machine.StopAsync(EngineLab.Token));
        await machine.VirshAsync(["define", xml], EngineLab.Token);
        await NextAsync(lab, machine, "incremental"); // the bitmap itself is all that a stopped machine needs
        await machine.StartAsync(EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        await lab.AssertRestoresAsync(await lab.BackUpAsync(machine), truth);
        await machine.StopAsync(EngineLab.Token);
    }

    private async Task<LabMachine> StartAsync(string name, EngineLab lab)
    {
        var machine = await LabMachine.DefineAsync(
            fixture.Host, name.ToLowerInvariant(), new LabDisk("vda", 4 * Mebi), new LabDisk("vdb", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 1, EngineLab.Token);
        await machine.WriteAsync("vdb", Mebi, 3 * Mebi, 2, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", Mebi, 70_000, 3, EngineLab.Token);
        await machine.DiscardAsync("vdb", 2 * Mebi, Mebi, EngineLab.Token);
        return machine;
    }

    // A backup with something happening to the machine at one step.
    private static async Task RunAsync(
        EngineLab lab, LabMachine machine, RunStep at, bool finishes, Func<Task> happen, bool cleansLater = false)
    {
        var truth = await EngineLab.TruthAsync(machine);
        var before = (await lab.Repository.PointsAsync(EngineLab.Token)).Points.Count;
        var reached = false;
        lab.AtStep = step =>
        {
            if (step != at || reached)
                return;
            reached = true;
            Task.Run(happen).GetAwaiter().GetResult();
        };
        if (finishes)
        {
            var point = await lab.BackUpAsync(machine);
            await lab.AssertRestoresAsync(point, truth);
        }
        else
        {
            var failure = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
            Assert.EndsWith(".", failure.Message, StringComparison.Ordinal);
        }

        lab.AtStep = _ => { };
        Assert.True(reached);
        Assert.Equal(before + (finishes ? 1 : 0), (await lab.Repository.PointsAsync(EngineLab.Token)).Points.Count);
        if (!cleansLater)
            OfflineLab.AssertNothingLeft(lab);
    }

    private static async Task<PointInfo> NextAsync(EngineLab lab, LabMachine machine, string mode)
    {
        var point = await lab.AssertNextAsync(machine, mode);
        OfflineLab.AssertNothingLeft(lab);
        return point;
    }
}
