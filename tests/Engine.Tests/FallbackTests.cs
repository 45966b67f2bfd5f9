// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Runs;
using Tidemark.Lab;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Tests;

/// <summary>
/// Whatever happens to a checkpoint, a bitmap or an image: the next run notices, reads that disk in full, says why, stores it
/// incrementally all the same, and is exact.
/// </summary>
public sealed class FallbackTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task TwoImagesSwappedUnderEachOthersNames_AreNoticed()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "swapped", new LabDisk("vda", 4 * Mebi), new LabDisk("vdb", 4 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        await machine.WriteAsync("vdb", 0, 2 * Mebi, 2, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.StopAsync(EngineLab.Token);
        var (a, b) = (machine.ImagePath("vda"), machine.ImagePath("vdb"));
        File.Move(a, a + ".x");
        File.Move(b, a);
        File.Move(a + ".x", b);
        await machine.StartAsync(EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "full", "full");
        Assert.All(point.Disks, disk => Assert.Contains("another image", disk.Reason, StringComparison.Ordinal));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Theory]
    [InlineData(RunStep.Thawed)]
    [InlineData(RunStep.AllDisksRead)]
    public async Task RunRevokedByOthers_IsBegunAnewAndExact(RunStep step)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync($"revoked-{step}", lab);
        await machine.WriteAsync("vda", Mebi / 2, 70_000, 9, EngineLab.Token);
        var revoked = 0;
        lab.AtStep = reached =>
        {
            if (reached == step && revoked++ == 0)
                Revoke(lab);
        };
        var point = await lab.AssertNextAsync(machine, "incremental", "incremental");
        Assert.Contains(point.Warnings, warning => warning.Contains("begun anew", StringComparison.Ordinal));
        Assert.Equal(2, revoked);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task RunRevokedAgainAndAgain_FailsAndLeavesNothing()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("unlucky", lab);
        lab.AtStep = reached =>
        {
            if (reached == RunStep.AllDisksRead)
                Revoke(lab);
        };
        var failure = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
        Assert.Contains("revoked", failure.Message, StringComparison.Ordinal);
        lab.AtStep = _ => { };
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    // What a collector does with a run that gave no sign of life.
    private static void Revoke(EngineLab lab)
    {
        foreach (var run in Directory.GetFiles(Path.Combine(lab.RepositoryFolder, "runs"), "*", SearchOption.AllDirectories))
        {
            var key = Path.Combine(Path.GetFileName(Path.GetDirectoryName(run))!, Path.GetFileName(run));
            var point = Path.Combine(lab.RepositoryFolder, "points", key);
            if (!Path.GetFileName(run).Contains('.') && !File.Exists(point))
                File.Create(point).Dispose();
        }
    }

    [Fact]
    public async Task KilledQemu_LosesItsBitmaps_AndTheNextRunReadsInFullButStoresNothingNew()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("killed", lab);
        await machine.KillAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "full", "full");
        Assert.All(point.Disks, disk => Assert.Contains("bitmap", disk.Reason, StringComparison.Ordinal));
        Assert.All(point.Disks, disk => Assert.Equal(0, disk.StoredBytes));
        Assert.Contains(point.Warnings, warning => warning.Contains("vda", StringComparison.Ordinal));

        // Stored once by a clean stop, then marked in use for good by the kill.
        await machine.StopAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.KillAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        var second = await lab.AssertNextAsync(machine, "full", "full");
        Assert.All(second.Disks, disk => Assert.Contains("inconsistent", disk.Reason, StringComparison.Ordinal));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task StoppedAndStartedMachine_GoesOnIncrementally()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("restarted", lab);
        await machine.WriteAsync("vda", 3 * Mebi, 4096, 9, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vdb", 1 * Mebi, 4096, 9, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task ResizedDisk_IsFull_TheOtherStaysIncremental()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("resized", lab);
        await machine.ResizeAsync("vda", 12 * Mebi, EngineLab.Token);
        await machine.WriteAsync("vda", 11 * Mebi, Mebi, 0x66, EngineLab.Token);
        var grown = await lab.AssertNextAsync(machine, "full", "incremental");
        Assert.Contains("size changed", grown.Disks[0].Reason, StringComparison.Ordinal);
        await machine.ResizeAsync("vda", 5 * Mebi, EngineLab.Token);
        await lab.AssertNextAsync(machine, "full", "incremental");
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task NewDisk_IsFull_TheOthersStayIncremental()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("plugged", lab);
        await machine.AttachAsync(new LabDisk("vdc", 4 * Mebi), EngineLab.Token);
        await machine.WriteAsync("vdc", Mebi, Mebi, 0x3c, EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "incremental", "incremental", "full");
        Assert.Contains("first backup of this disk", point.Disks[2].Reason, StringComparison.Ordinal);
        await lab.AssertNextAsync(machine, "incremental", "incremental", "incremental");
    }

    [Fact]
    public async Task DisksBackedUpOnTheirOwn_EachHaveTheirOwnBase()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("apart", lab);
        await machine.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        await machine.WriteAsync("vdb", 0, Mebi, 1, EngineLab.Token);
        var onlyA = await lab.BackUpAsync(machine, new BackupOptions { Disks = ["vda"] });
        Assert.Equal("vda", Assert.Single(onlyA.Disks).Name);
        Assert.Equal("not chosen for this backup", Assert.Single(onlyA.NotProtected).Reason);
        Assert.Equal(2, (await EngineLab.CheckpointsAsync(machine)).Count);

        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 2, EngineLab.Token);
        await machine.WriteAsync("vdb", 2 * Mebi, Mebi, 2, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        Assert.Single(await EngineLab.CheckpointsAsync(machine));
    }

    [Fact]
    public async Task RemovedBitmap_IsFullForThatDiskOnly()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("unmapped", lab);
        var name = Assert.Single(await EngineLab.CheckpointsAsync(machine));
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", EngineLab.Token)).EnumerateArray()
            .First(device => device.GetProperty("qdev").GetString()!.Contains("virtio-disk1", StringComparison.Ordinal))
            .GetProperty("inserted").GetProperty("node-name").GetString();
        await machine.QmpAsync(
            $$$"""{"execute":"block-dirty-bitmap-remove","arguments":{"node":"{{{node}}}","name":"{{{name}}}"}}""", EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "incremental", "full");
        Assert.Contains("missing on this disk", point.Disks[1].Reason, StringComparison.Ordinal);
        Assert.Single(await EngineLab.CheckpointsAsync(machine));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task RemovedCheckpoint_IsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("forgotten", lab);
        var name = Assert.Single(await EngineLab.CheckpointsAsync(machine));
        await machine.Domain.DeleteCheckpointAsync(name, cancellationToken: EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "full", "full");
        Assert.All(point.Disks, disk => Assert.Contains("missing on this disk", disk.Reason, StringComparison.Ordinal));
    }

    [Fact]
    public async Task ForeignCheckpoints_AreLeftAlone()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("foreign", lab);
        await machine.Domain.CreateCheckpointAsync(
            CheckpointXml.Write(new CheckpointDescription("virtnbdbackup.0", [new("vda", true), new("vdb", true)])),
            cancellationToken: EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        Assert.Contains("virtnbdbackup.0", await EngineLab.CheckpointsAsync(machine));
        Assert.Equal(2, (await EngineLab.CheckpointsAsync(machine)).Count);
    }

    [Fact]
    public async Task RawAndOldQcow2Disks_AreReadInFullButStoredIncrementally()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "raw",
            new LabDisk("vda", 8 * Mebi),
            new LabDisk("vdb", 8 * Mebi) { Format = "raw" },
            new LabDisk("vdc", 8 * Mebi) { CreateOptions = "compat=0.10" });
        foreach (var disk in machine.Disks)
            await machine.WriteBytesAsync(disk, 0, Noise(disk[2], 3 * Mebi), EngineLab.Token);
        await lab.BackUpAsync(machine);
        foreach (var disk in machine.Disks)
            await machine.WriteBytesAsync(disk, Mebi, Noise(disk[2] + 9, 64 * 1024), EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "incremental", "full", "full");
        Assert.Contains("raw images cannot carry a bitmap", point.Disks[1].Reason, StringComparison.Ordinal);
        Assert.Contains("compat=1.1", point.Disks[2].Reason, StringComparison.Ordinal);
        Assert.All(point.Disks, disk => Assert.InRange(disk.StoredBytes, 64 * 1024, 300 * 1024));
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task OtherChunkSize_RewritesTheDiskOnce()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("chunks", lab);
        var point = await lab.BackUpAsync(machine, new BackupOptions { ChunkLog2 = 16 });
        Assert.All(point.Disks, disk => Assert.Contains("chunk size changed", disk.Reason, StringComparison.Ordinal));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task FullOnDemand_IsFullAndStoresNothingNew()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("demand", lab);
        var point = await lab.BackUpAsync(machine, new BackupOptions { Full = true });
        Assert.All(point.Disks, disk => Assert.Equal("full", disk.Mode));
        Assert.All(point.Disks, disk => Assert.Equal(0, disk.StoredBytes));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
    }

    [Fact]
    public async Task DisksThatCannotBeFrozen_AreListedWithTheReason()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "mixed",
            new LabDisk("vda", 2 * Mebi),
            new LabDisk("vdb", 2 * Mebi) { Format = "raw", IsShareable = true },
            new LabDisk("vdc", 2 * Mebi) { IsReadOnly = true },
            new LabDisk("sda", null) { Bus = "sata", Device = "cdrom", IsEmpty = true });
        var point = await lab.BackUpAsync(machine);
        Assert.Equal("vda", Assert.Single(point.Disks).Name);
        Assert.Equal(["sda", "vdb", "vdc"], point.NotProtected.Select(disk => disk.Name).Order(StringComparer.Ordinal));
        Assert.All(point.NotProtected, disk => Assert.NotEmpty(disk.Reason));
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task TwoRepositories_EachKeepTheirOwnCheckpoint()
    {
        await using var one = await EngineLab.CreateAsync(fixture);
        await using var two = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync("both", one);
        await two.BackUpAsync(machine);
        await machine.WriteAsync("vda", 0, Mebi, 0x44, EngineLab.Token);
        await one.AssertNextAsync(machine, "incremental");
        await one.AssertCleanAsync(machine, 2);
        await machine.WriteAsync("vdb", 0, Mebi, 0x44, EngineLab.Token);
        await two.AssertNextAsync(machine, "incremental");
        await two.AssertCleanAsync(machine, 2);
    }

    private async Task<LabMachine> StartAsync(string name, EngineLab lab)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 6 * Mebi));
        await machine.WriteBytesAsync("vda", Mebi, Noise(1, 4 * Mebi), EngineLab.Token);
        await machine.WriteBytesAsync("vdb", 2 * Mebi, Noise(2, 3 * Mebi), EngineLab.Token);
        await lab.BackUpAsync(machine);
        return machine;
    }

    private static byte[] Noise(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
