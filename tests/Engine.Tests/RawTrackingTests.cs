// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using Tidemark.Engine.Doctor.Checks;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>What doctor says of raw disks is right: the commands keep every byte, and the disk is tracked afterwards.</summary>
public sealed class RawTrackingTests(LabFixture fixture)
{
    private const int Size = 8 << 20;

    [Theory]
    [InlineData("file")]
    [InlineData("block")]
    public async Task RawDisk_BehindAQcow2_KeepsItsContent_AndIsTracked(string kind)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var file = Path.Combine(fixture.Host.Folder, $"it's raw, {kind}.img");
        await using var loop = kind == "block" ? await LoopDevice.TryCreateAsync(file, Size) : null;
        Assert.SkipWhen(kind == "block" && loop is null, "No block device can be made here.");
        var disk = loop?.Path ?? file;
        var content = RandomNumberGenerator.GetBytes(Size);
        await WriteAsync(disk, content);
        fixture.Host.GiveToQemu(disk);

        var image = Path.Combine(fixture.Host.Folder, $"front of {kind}.qcow2");
        await Tool.RunAsync("sh", ["-ec", RawTracking.Prepare(disk, image, Size)], EngineLab.Token);
        Assert.Equal(content, await File.ReadAllBytesAsync(disk, EngineLab.Token));
        Assert.False(File.Exists(image + ".empty"));
        fixture.Host.GiveToQemu(image);

        var machine = await LabMachine.DefineAsync(fixture.Host, $"fronted-{kind}", new LabDisk("vda", null) { Path = image });
        Assert.Equal(content, await machine.ReadDiskAsync("vda", EngineLab.Token));
        await AssertNextAsync("full");
        await machine.WriteAsync("vda", 1 << 20, 100_352, 0x5a, EngineLab.Token);
        await machine.DiscardAsync("vda", 3 << 20, 1 << 20, EngineLab.Token);
        await AssertNextAsync("incremental");
        await machine.StopAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 5 << 20, 4096, 0x77, EngineLab.Token);
        await AssertNextAsync("incremental");

        // The raw disk is the disk still: whoever wants can go back to it.
        var truth = await machine.ReadDiskAsync("vda", EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        Assert.Equal(truth, await File.ReadAllBytesAsync(disk, EngineLab.Token));
        if (loop is not null)
            await Tool.RunAsync("chown", ["root:root", disk], EngineLab.Token); // the device node outlives the device

        async Task AssertNextAsync(string mode)
        {
            var before = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine);
            Assert.Equal(mode, Assert.Single(point.Disks).Mode);
            await lab.AssertRestoresAsync(point, before);
        }
    }

    // The reason why the commands go the way they go.
    [Fact]
    public async Task CreateWithTheDiskItselfAsDataFile_WouldDestroyIt()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var disk = lab.PathOf("disk.img");
        await File.WriteAllBytesAsync(disk, RandomNumberGenerator.GetBytes(Size), EngineLab.Token);
        await Tool.RunAsync(
            "qemu-img",
            ["create", "-q", "-f", "qcow2", "-o", $"data_file={disk},data_file_raw=on", lab.PathOf("front.qcow2"), $"{Size}"],
            EngineLab.Token);
        Assert.All(await File.ReadAllBytesAsync(disk, EngineLab.Token), value => Assert.Equal(0, value));
    }

    private static async Task WriteAsync(string path, byte[] content)
    {
        await using var stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write);
        await stream.WriteAsync(content, EngineLab.Token);
        stream.Flush(flushToDisk: true);
    }
}
