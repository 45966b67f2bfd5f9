// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Runs;
using Tidemark.Lab;
using Tidemark.Qemu;

namespace Tidemark.Engine.Tests;

/// <summary>
/// Nothing keeps a stopped machine from starting, or its images from changing, while it is backed up: the run then fails with one
/// clear sentence, nothing is committed, nothing stays, and the next run is exact.
/// </summary>
public sealed class OfflineVoidTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(RunStep.Planned)]
    [InlineData(RunStep.Frozen)]
    [InlineData(RunStep.Begun)]
    [InlineData(RunStep.Connected)]
    [InlineData(RunStep.FirstDiskRead)]
    [InlineData(RunStep.AllDisksRead)]
    [InlineData(RunStep.Ended)]
    [InlineData(RunStep.Stored)]
    public async Task StartedInTheMiddle_StartsAtOnce_AndTheRunIsVoid(RunStep step)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync($"vstart-{step}".ToLowerInvariant(), lab);
        TimeSpan? took = null;
        await AssertVoidAsync(lab, machine, step, "was started", () =>
        {
            var begun = Stopwatch.GetTimestamp();
            machine.StartAsync(EngineLab.Token).GetAwaiter().GetResult();
            took = Stopwatch.GetElapsedTime(begun);
        });
        Assert.True(took < TimeSpan.FromSeconds(10), $"The start took {took}.");
        await machine.WriteAsync("vdb", Mebi, 70_000, 9, EngineLab.Token);
        await AssertNextAsync(lab, machine);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(RunStep.Connected)]
    [InlineData(RunStep.Stored)]
    public async Task StartedAndStoppedAgain_IsVoid(RunStep step)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync($"vblink-{step}".ToLowerInvariant(), lab);
        await AssertVoidAsync(lab, machine, step, "the run is void", () => Task.Run(async () =>
        {
            await machine.StartAsync(EngineLab.Token);
            await machine.WriteAsync("vda", 0, 4096, 9, EngineLab.Token);
            await machine.StopAsync(EngineLab.Token);
        }).GetAwaiter().GetResult());
        await AssertNextAsync(lab, machine);
    }

    [Theory]
    [InlineData(RunStep.Begun)]
    [InlineData(RunStep.AllDisksRead)]
    [InlineData(RunStep.Stored)]
    public async Task ImageWrittenWithoutTheHypervisor_IsVoid(RunStep step)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync($"vwrite-{step}".ToLowerInvariant(), lab);
        await AssertVoidAsync(lab, machine, step, "was changed", () =>
            OfflineLab.WriteImageAsync(machine.ImagePath("vdb"), "qcow2", "write -P 9 2M 64k").GetAwaiter().GetResult());
        await AssertNextAsync(lab, machine);
    }

    [Fact]
    public async Task ImageOpenForWritingInAnotherProgram_IsRefused()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync("vopen", lab);
        var options = new QemuNbdOptions
        {
            Image = ImageRef.File(machine.ImagePath("vda"), "qcow2"),
            SocketPath = lab.PathOf("other"),
            ReadOnly = false,
        };
        await using (await QemuNbd.ServeAsync(options, EngineLab.Token))
        {
            var failure = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
            Assert.Contains("open for writing in another program", failure.Message, StringComparison.Ordinal);
            OfflineLab.AssertNothingLeft(lab);
        }

        await AssertNextAsync(lab, machine);
    }

    [Theory]
    [InlineData(RunStep.Begun, "was changed")]
    [InlineData(RunStep.Stored, "was changed")]
    public async Task ImageReplacedByACopyAndBack_IsVoid(RunStep step, string said)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync($"vswap-{step}".ToLowerInvariant(), lab);
        var image = machine.ImagePath("vda");
        await AssertVoidAsync(lab, machine, step, said, () =>
        {
            File.Move(image, image + ".x");
            File.Move(image + ".x", image);
        });
        await AssertNextAsync(lab, machine);
    }

    [Fact]
    public async Task DefinedAnewOrUndefinedInTheMiddle_IsVoid()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync("vdefined", lab);
        var xml = lab.PathOf("vdefined.xml");
        var defined = await machine.Domain.GetXmlAsync(cancellationToken: EngineLab.Token);
        var other = defined.Replace("<vcpu placement='static'>1<", "<vcpu placement='static'>2<", StringComparison.Ordinal);
        Assert.NotEqual(defined, other);
        await File.WriteAllTextAsync(xml, other, EngineLab.Token);
        await AssertVoidAsync(lab, machine, RunStep.AllDisksRead, "defined anew", () =>
            machine.VirshAsync(["define", xml], EngineLab.Token).GetAwaiter().GetResult());
        await AssertNextAsync(lab, machine);
        await AssertVoidAsync(lab, machine, RunStep.Stored, "gone from the hypervisor", () =>
            machine.VirshAsync(["undefine", machine.Name, "--checkpoints-metadata"], EngineLab.Token).GetAwaiter().GetResult());
        await machine.VirshAsync(["define", xml], EngineLab.Token);
        await AssertNextAsync(lab, machine);
    }

    [Fact]
    public async Task DaemonKilledInTheMiddle_FailsAndLeavesNothing()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StoppedAsync("vdaemon", lab);
        await AssertVoidAsync(lab, machine, RunStep.Connected, "", () =>
        {
            using var daemon = Process.GetProcessById(Assert.Single(OfflineLab.Daemons(lab.Folders.Scratch)));
            daemon.Kill();
        });
        await AssertNextAsync(lab, machine);
    }

    // Backed up while it ran, changed, and stopped.
    private async Task<LabMachine> StoppedAsync(string name, EngineLab lab)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 4 * Mebi), new LabDisk("vdb", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 1, EngineLab.Token);
        await machine.WriteAsync("vdb", Mebi, 3 * Mebi, 2, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", Mebi, 4096, 3, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        return machine;
    }

    private static async Task AssertVoidAsync(EngineLab lab, LabMachine machine, RunStep at, string said, Action disturb)
    {
        var before = (await lab.Repository.PointsAsync(EngineLab.Token)).Points.Count;
        var reached = false;
        lab.AtStep = step =>
        {
            if (step != at || reached)
                return;
            reached = true;
            disturb();
        };
        var failure = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
        lab.AtStep = _ => { };
        Assert.True(reached);
        Assert.Contains(said, failure.Message, StringComparison.Ordinal);
        Assert.Equal(before, (await lab.Repository.PointsAsync(EngineLab.Token)).Points.Count);
        OfflineLab.AssertNothingLeft(lab);
    }

    private static async Task AssertNextAsync(EngineLab lab, LabMachine machine)
    {
        await lab.AssertNextAsync(machine, "incremental");
        OfflineLab.AssertNothingLeft(lab);
    }
}
