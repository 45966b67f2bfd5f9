// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Qemu;

namespace Tidemark.Engine.Tests;

/// <summary>Disks that can't carry a bitmap are read in full, stored incrementally, and exact; so are tracked ones on block
/// devices.</summary>
public sealed class DiskKindTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task NetworkDisk_IsReadInFullAndStoredIncrementally_BesideATrackedOne()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var folder = fixture.Host.CreateFolder("nbdserver");
        var (image, socket) = (Path.Combine(folder, "export.raw"), Path.Combine(folder, "s"));
        await using (var stream = File.Create(image))
            stream.SetLength(6 * Mebi);
        await using var server = await QemuNbd.ServeAsync(
            new QemuNbdOptions { Image = ImageRef.File(image, "raw"), SocketPath = socket, ReadOnly = false, ExportName = "disk" },
            EngineLab.Token);
        fixture.Host.GiveToQemu(socket);
        var network = new LabDisk("vdb", null) { Format = "raw", Nbd = (socket, "disk") };
        var machine = await LabMachine.DefineAsync(fixture.Host, "network", new LabDisk("vda", 4 * Mebi), network);
        await AssertStoredIncrementallyAsync(lab, machine, "incremental", "full", "network");
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData("raw", "full")]
    [InlineData("qcow2", "incremental")]
    public async Task BlockDevice_IsStoredIncrementally(string format, string mode)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var device = await LoopDevice.TryCreateAsync(lab.PathOf("device.img"), 16 * Mebi);
        if (device is null)
            Assert.Skip("No loop device can be made here.");
        fixture.Host.GiveToQemu(device.Path);
        if (format == "qcow2")
            await QemuImg.CreateAsync(ImageRef.File(device.Path, format), 6 * Mebi, EngineLab.Token);
        var disk = new LabDisk("vdb", null) { Format = format, Path = device.Path, IsBlockDevice = true };
        var machine = await LabMachine.DefineAsync(fixture.Host, $"block-{format}", new LabDisk("vda", 4 * Mebi), disk);
        await AssertStoredIncrementallyAsync(lab, machine, "incremental", mode, "block");
        await machine.StopAsync(EngineLab.Token);
    }

    private static async Task AssertStoredIncrementallyAsync(
        EngineLab lab, LabMachine machine, string first, string second, string kind)
    {
        foreach (var disk in machine.Disks)
            await machine.WriteBytesAsync(disk, Mebi, Noise(disk[2], 3 * Mebi), EngineLab.Token);
        var before = await EngineLab.TruthAsync(machine);
        var full = await lab.BackUpAsync(machine);
        await lab.AssertRestoresAsync(full, before);
        foreach (var disk in machine.Disks)
            await machine.WriteBytesAsync(disk, 2 * Mebi, Noise(disk[2] + 9, 64 << 10), EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var point = await lab.BackUpAsync(machine);
        Assert.Equal([first, second], point.Disks.Select(disk => disk.Mode));
        Assert.All(point.Disks, disk => Assert.InRange(disk.StoredBytes, 64 << 10, 300 << 10));
        Assert.Equal(kind, (await lab.Hypervisor.FindAsync(point.MachineUuid, EngineLab.Token))!.Disks[1].Kind);
        await lab.AssertRestoresAsync(point, truth);
        await lab.AssertRestoresAsync(full, before);
        await lab.AssertCleanAsync(machine);
    }

    private static byte[] Noise(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
