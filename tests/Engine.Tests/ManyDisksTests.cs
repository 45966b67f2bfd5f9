// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>More disks than QEMU's server has clients to spare for, four to a disk.</summary>
public sealed class ManyDisksTests(LabFixture fixture)
{
    private const int Disks = 28;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task MachineOfManyDisks_IsBackedUpWhole(bool isRunning)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var disks = Enumerable.Range(0, Disks).Select(number => new LabDisk(NameOf(number), 1 << 20) { Bus = "scsi" }).ToArray();
        var machine = await LabMachine.DefineAsync(fixture.Host, $"many{isRunning}", disks);
        foreach (var (number, disk) in disks.Index())
            await machine.WriteAsync(disk.Target, number << 12, 4096, (byte)(number + 1), EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        if (!isRunning)
            await machine.StopAsync(EngineLab.Token);
        var point = await lab.BackUpAsync(machine);
        Assert.Equal(Disks, point.Disks.Count);
        await lab.AssertRestoresAsync(point, truth);
        if (isRunning)
            await machine.StopAsync(EngineLab.Token);
    }

    private static string NameOf(int number) => number < 26 ? $"sd{(char)('a' + number)}" : $"sda{(char)('a' + number - 26)}";
}
