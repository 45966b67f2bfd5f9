// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Engine.Runs;
using Tidemark.Lab;
using Tidemark.Storage;
using Tidemark.TestKit;

namespace Tidemark.Engine.Tests;

/// <summary>Every restore point of a series gives back the disks of its instant. Contents are compared, never maps.</summary>
public sealed class ExactnessTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task TenRoundsOfWritesDiscardsAndZeroes_EveryPointIsExact(int fallbackSeed)
    {
        var seed = Seed.Choose(fallbackSeed);
        TestContext.Current.TestOutputHelper?.WriteLine($"TIDEMARK_SEED={seed}");
        var random = new Random(seed);
        await using var lab = await EngineLab.CreateAsync(fixture);
        // A whole number of chunks, and an odd end inside a 64 KiB cluster.
        var machine = await LabMachine.DefineAsync(
            fixture.Host, $"ten{seed}", new LabDisk("vda", 24 * Mebi), new LabDisk("vdb", 9 * Mebi + 3 * 512));
        var points = new List<(PointInfo Point, IReadOnlyDictionary<string, byte[]> Truth)>();
        for (var round = 0; round <= 10; round++)
        {
            foreach (var disk in machine.Disks)
                await DisturbAsync(machine, disk, disk == "vda" ? 24 * Mebi : 9 * Mebi + 3 * 512, random, round);
            var truth = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine);
            Assert.All(point.Disks, disk => Assert.Equal(round == 0 ? "full" : "incremental", disk.Mode));
            points.Add((point, truth));
            await lab.AssertCleanAsync(machine);
        }

        foreach (var (point, truth) in points)
            await lab.AssertRestoresAsync(point, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    [Theory]
    [InlineData(1L << 20)]
    [InlineData(512L)]
    [InlineData((1L << 20) + 512)]
    [InlineData((5L << 20) - 512)]
    public async Task SmallAndOddSizes_AreExact(long size)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, $"odd{size}", new LabDisk("vda", size));
        await machine.WriteAsync("vda", size - 512, 512, 0x5a, EngineLab.Token);
        var first = (Point: await lab.BackUpAsync(machine), Truth: await EngineLab.TruthAsync(machine));
        await machine.WriteAsync("vda", 0, 512, 0xa5, EngineLab.Token);
        await machine.WriteZeroesAsync("vda", size - 512, 512, unmap: false, EngineLab.Token);
        var second = (Point: await lab.BackUpAsync(machine), Truth: await EngineLab.TruthAsync(machine));
        await lab.AssertRestoresAsync(first.Point, first.Truth);
        await lab.AssertRestoresAsync(second.Point, second.Truth);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task EightTebibytesThin_IsExactAndCostsWhatItHolds()
    {
        const long size = 8L << 40;
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "thin", new LabDisk("vda", size));
        await machine.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        await machine.WriteAsync("vda", size - Mebi, Mebi, 2, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", 5L << 40, Mebi, 3, EngineLab.Token);
        await machine.DiscardAsync("vda", 0, Mebi, EngineLab.Token);
        var point = await lab.BackUpAsync(machine);
        Assert.Equal("incremental", point.Disks[0].Mode);
        Assert.True(point.Disks[0].ReadBytes <= 3 * Mebi, $"Read {point.Disks[0].ReadBytes} bytes.");

        var restored = (await lab.RestoreAsync(point, "qcow2"))["vda"];
        Assert.True(new FileInfo(restored).Length < 64 * Mebi);
        var truth = Path.Combine(fixture.Host.Folder, "thin-truth.qcow2");
        await machine.FlushAsync("vda", EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        File.Copy(machine.ImagePath("vda"), truth);
        Assert.True(await Qemu.QemuImg.CompareAsync(
            Qemu.ImageRef.File(truth, "qcow2"), Qemu.ImageRef.File(restored, "qcow2"), EngineLab.Token));
        File.Delete(truth);
    }

    /// <summary>Beside another run the first backup reads the disk in pieces, in an order of its own; later ones inherit from it.</summary>
    [Fact]
    public async Task FirstBackupBesideAnotherRun_IsExact()
    {
        const int size = 75 * Mebi + 7 * 512;
        var random = new Random(Seed.Choose(75));
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "beside", new LabDisk("vda", size), new LabDisk("vdb", size), new LabDisk("vdc", Mebi));
        foreach (var disk in new[] { "vda", "vdb" })
        {
            for (var write = 0; write < 12; write++)
            {
                var bytes = new byte[512 * random.Next(1, 8192)];
                random.NextBytes(bytes);
                await machine.WriteBytesAsync(disk, 512L * random.Next(0, (size - bytes.Length) / 512 + 1), bytes, EngineLab.Token);
            }
        }

        await using (await lab.Repository.Repository.BeginRunAsync(new MachineId("another"), new BackupRunOptions(), EngineLab.Token))
        {
            var first = (Point: await lab.BackUpAsync(machine), Truth: await EngineLab.TruthAsync(machine));
            await machine.WriteAsync("vda", 20 * Mebi, Mebi, 0x21, EngineLab.Token);
            await machine.DiscardAsync("vdb", 30 * Mebi, 3 * Mebi, EngineLab.Token);
            var second = (Point: await lab.BackUpAsync(machine), Truth: await EngineLab.TruthAsync(machine));
            Assert.All(second.Point.Disks, disk => Assert.Equal("incremental", disk.Mode));
            await lab.AssertRestoresAsync(first.Point, first.Truth);
            await lab.AssertRestoresAsync(second.Point, second.Truth);
        }

        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task WritesDuringABackup_AreNotInItButInTheNext()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "during", new LabDisk("vda", 16 * Mebi), new LabDisk("vdb", 8 * Mebi));
        await machine.WriteAsync("vda", 0, 16 * Mebi, 0x11, EngineLab.Token);
        await machine.WriteAsync("vdb", 0, 8 * Mebi, 0x22, EngineLab.Token);
        var before = await EngineLab.TruthAsync(machine);
        lab.AtStep = step =>
        {
            if (step == RunStep.Connected)
                Write().GetAwaiter().GetResult();
        };
        var first = await lab.BackUpAsync(machine);
        lab.AtStep = _ => { };
        var after = await EngineLab.TruthAsync(machine);
        var second = await lab.BackUpAsync(machine);
        await lab.AssertRestoresAsync(first, before);
        await lab.AssertRestoresAsync(second, after);
        await machine.StopAsync(EngineLab.Token);

        async Task Write()
        {
            await machine.WriteAsync("vda", 3 * Mebi, 5 * Mebi, 0x33, EngineLab.Token);
            await machine.DiscardAsync("vda", 10 * Mebi, Mebi, EngineLab.Token);
            await machine.WriteZeroesAsync("vdb", 0, Mebi, unmap: true, EngineLab.Token);
        }
    }

    [Fact]
    public async Task DirtyAndZero_MeansZero()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "dirtyzero", new LabDisk("vda", 32 * Mebi));
        await machine.WriteAsync("vda", 0, 32 * Mebi, 0x77, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.DiscardAsync("vda", 4 * Mebi, 8 * Mebi, EngineLab.Token);
        await machine.WriteZeroesAsync("vda", 20 * Mebi, 2 * Mebi, unmap: false, EngineLab.Token);
        var point = await lab.BackUpAsync(machine);
        Assert.Equal("incremental", point.Disks[0].Mode);
        // What is known to be zero is not read.
        Assert.True(point.Disks[0].ReadBytes <= 2 * Mebi, $"Read {point.Disks[0].ReadBytes} bytes.");
        var truth = await EngineLab.TruthAsync(machine);
        Assert.Equal(10 * Mebi, truth["vda"].Count(value => value == 0));
        await lab.AssertRestoresAsync(point, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    private static async Task DisturbAsync(LabMachine machine, string disk, int size, Random random, int round)
    {
        var token = EngineLab.Token;
        for (var count = random.Next(2, 9); count > 0; count--)
        {
            var length = 512 * random.Next(1, random.Next(2, 4096));
            var offset = 512 * random.Next(0, (size - length) / 512 + 1);
            switch (random.Next(5))
            {
                case 0:
                    await machine.DiscardAsync(disk, offset, length, token);
                    break;
                case 1:
                    await machine.WriteZeroesAsync(disk, offset, length, random.Next(2) == 0, token);
                    break;
                case 2:
                    // The same data again: dirty, and not changed.
                    var now = await machine.ReadDiskAsync(disk, token);
                    await machine.WriteBytesAsync(disk, offset, now.AsMemory(offset, length), token);
                    break;
                default:
                    var bytes = new byte[length];
                    random.NextBytes(bytes);
                    await machine.WriteBytesAsync(disk, offset, bytes, token);
                    break;
            }
        }

        if (round % 3 == 1)
            await machine.WriteAsync(disk, size - 512, 512, (byte)(round + 1), token);
    }
}
