// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Checks;
using Tidemark.Engine.Machines;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>More bitmaps than libvirt can pass on: the machine is refused in one sentence, and nobody else suffers.</summary>
public sealed class TooManyBitmapsTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;
    private const int LongestName = 1023;
    private const int PerDisk = 1100;

    [Fact]
    public async Task MoreThanLibvirtPassesOn_IsRefusedWithOneSentence_AndGoesOnAfterwards()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "swarm", [.. "abcd".Select(letter => new LabDisk($"vd{letter}", Mebi))]);
        await machine.WriteAsync("vda", 0, Mebi / 2, 0x51, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.WriteAsync("vdb", 0, Mebi / 2, 0x52, EngineLab.Token);
        for (var disk = 0; disk < machine.Disks.Count(); disk++)
        {
            var names = Enumerable.Range(0, PerDisk).Select(i => $"{disk}-{i}-".PadRight(LongestName, 'n'));
            await ManyBitmaps.AddAsync(machine, names, disk, persistent: false);
        }

        var error = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
        Assert.StartsWith(
            "Machine 'swarm' has no disk to back up: vda: its machine has so many bitmaps", error.Message, StringComparison.Ordinal);
        Assert.Contains("qemu-img bitmap --remove", error.Message, StringComparison.Ordinal);
        Assert.Contains(
            await lab.Hypervisor.ListAsync(EngineLab.Token), found => found.Name == "swarm" && found.Disks.Count == 0);
        await AssertDoctorSaysAsync(lab, machine);
        await lab.AssertCleanAsync(machine);

        await machine.StopAsync(EngineLab.Token); // these bitmaps lived in memory only
        await machine.StartAsync(EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental", "incremental", "incremental");
        await machine.StopAsync(EngineLab.Token);
    }

    private static async Task AssertDoctorSaysAsync(EngineLab lab, LabMachine machine)
    {
        await using var examiner = await Hypervisors.ExamineAsync(lab.Host.Uri, EngineLab.Token);
        var facts = await examiner.ReadMachineAsync(machine.Domain.Uuid.ToString(), EngineLab.Token);
        Assert.Contains("longer than libvirt passes on", Assert.Single(facts.Unseen), StringComparison.Ordinal);
        Assert.Equal(4, DiskChecks.Judge(facts).Count(finding => finding.What.Contains("so many bitmaps", StringComparison.Ordinal)));
    }
}
