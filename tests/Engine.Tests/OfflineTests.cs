// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Runs;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>Machines that are off: in full or incrementally from the images as they lie there, and the next live run goes on.</summary>
public sealed class OfflineTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task LiveOffOffLive_EveryPointIsExactAndTheLineageGoesOn()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "offchain",
            new LabDisk("vda", 16 * Mebi),
            new LabDisk("vdb", 9 * Mebi + 3 * 512) { CreateOptions = "cluster_size=4096" });
        await machine.WriteAsync("vda", Mebi, 9 * Mebi, 1, EngineLab.Token);
        await machine.WriteAsync("vdb", 0, 9 * Mebi + 3 * 512, 2, EngineLab.Token);
        var truths = new List<(PointInfo Point, IReadOnlyDictionary<string, byte[]> Truth)>();
        await RememberAsync(await lab.BackUpAsync(machine));

        await ChangeAsync(3);
        await machine.StopAsync(EngineLab.Token);
        var first = await OfflineLab.BackUpStoppedAsync(lab, machine, new BackupOptions { Quiesce = Quiesce.Require });
        await RememberAsync(first);
        AssertIncremental(first, "offline");
        Assert.Empty(first.Warnings);
        Assert.All(first.Disks, disk => Assert.InRange(disk.ReadBytes, 1, 4 * Mebi));
        var second = await OfflineLab.BackUpStoppedAsync(lab, machine);
        await RememberAsync(second);
        AssertIncremental(second, "offline");
        Assert.All(second.Disks, disk => Assert.Equal(0, disk.StoredBytes));

        await machine.StartAsync(EngineLab.Token);
        await ChangeAsync(4);
        await RememberAsync(await lab.BackUpAsync(machine));
        AssertIncremental(truths[^1].Point, "crash");
        await lab.AssertCleanAsync(machine);
        await ChangeAsync(5);
        await RememberAsync(await lab.BackUpAsync(machine));
        AssertIncremental(truths[^1].Point, "crash");
        foreach (var (point, truth) in truths)
            await lab.AssertRestoresAsync(point, truth);
        await machine.StopAsync(EngineLab.Token);

        async Task RememberAsync(PointInfo point) => truths.Add((point, await EngineLab.TruthAsync(machine)));

        async Task ChangeAsync(byte value)
        {
            await machine.WriteAsync("vda", value * Mebi + 512, 70_000, value, EngineLab.Token);
            await machine.DiscardAsync("vda", (value + 4) * Mebi, Mebi, EngineLab.Token);
            await machine.WriteAsync("vdb", value * Mebi, 4096, (byte)(value + 16), EngineLab.Token);
            await machine.WriteZeroesAsync("vdb", 8 * Mebi + value * 8192, 8192, unmap: true, EngineLab.Token);
        }
    }

    [Fact]
    public async Task NeverBackedUpWhileRunning_IsFullOffline_AndOnceMoreLive()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "offfirst", new LabDisk("vda", 8 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 7, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        AssertFull(await OfflineLab.BackUpStoppedAsync(lab, machine), "first backup of this disk");
        var again = await OfflineLab.BackUpStoppedAsync(lab, machine);
        AssertFull(again, "the machine was off at the last backup");
        Assert.Equal(0, again.Disks[0].StoredBytes);
        await machine.StartAsync(EngineLab.Token);
        var live = await lab.BackUpAsync(machine);
        AssertFull(live, "the machine was off at the last backup");
        Assert.DoesNotContain(live.Warnings, text => text.Contains("read in full", StringComparison.Ordinal));
        await machine.WriteAsync("vda", 5 * Mebi, Mebi, 8, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var next = await lab.BackUpAsync(machine);
        AssertIncremental(next, "crash");
        await lab.AssertRestoresAsync(next, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task KilledQemu_LeavesBitmapsInUse_FullOfflineAndTheNextLiveRunCleansUp()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "offkilled", new LabDisk("vda", 8 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 7, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.StopAsync(EngineLab.Token); // the bitmap is stored
        await machine.StartAsync(EngineLab.Token); // and in use
        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 8, EngineLab.Token);
        await machine.FlushAsync("vda", EngineLab.Token);
        await machine.KillAsync(EngineLab.Token);
        var off = await OfflineLab.BackUpStoppedAsync(lab, machine);
        AssertFull(off, "inconsistent");
        Assert.Contains(off.Warnings, warning => warning.Contains("vda", StringComparison.Ordinal));
        await machine.StartAsync(EngineLab.Token);
        AssertFull(await lab.BackUpAsync(machine), "off at the last backup");
        await lab.AssertCleanAsync(machine);
        await machine.WriteAsync("vda", 4 * Mebi, Mebi, 9, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        AssertIncremental(await OfflineLab.BackUpStoppedAsync(lab, machine), "offline");
    }

    [Fact]
    public async Task OverlayAndBase_AreReadAsOneAndTheirBitmapsMerged()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "offoverlay", new LabDisk("vda", 8 * Mebi) { CreateOptions = "cluster_size=4096" });
        await machine.WriteAsync("vda", 0, 6 * Mebi, 7, EngineLab.Token);
        var before = (await EngineLab.TruthAsync(machine))["vda"];
        var point = await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", Mebi, 4096, 8, EngineLab.Token);
        var overlay = Path.Combine(fixture.Host.Folder, "offoverlay-top.qcow2");
        await machine.VirshAsync(
            ["snapshot-create-as", machine.Name, "s1", "--disk-only", "--no-metadata", "--diskspec", $"vda,file={overlay}"],
            EngineLab.Token);
        await machine.WriteAsync("vda", 3 * Mebi, 100_000, 9, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);

        var off = await lab.Hypervisor.FindAsync(machine.Name, EngineLab.Token);
        var disk = Assert.Single(off!.Disks);
        Assert.Equal((overlay, BitmapHealth.Recording), (disk.Path, disk.Bitmaps[point.Disks[0].Checkpoint!]));
        Directory.CreateDirectory(lab.PathOf("run"));
        await using var frozen = await lab.Hypervisor.FreezeAsync(
            new FreezeRequest
            {
                Machine = off,
                Disks = [new FreezeDisk("vda", point.Disks[0].Checkpoint, Track: false)],
                Checkpoint = null,
                Folder = lab.PathOf("run"),
                Quiesce = Quiesce.Auto,
                Reached = _ => Task.CompletedTask,
                FreezeChanged = _ => Task.CompletedTask,
            },
            EngineLab.Token);
        await frozen.ConnectAsync(EngineLab.Token);
        var changed = new List<ByteRange>();
        await foreach (var range in frozen.Disk("vda").ChangedAsync(EngineLab.Token))
        {
            changed.Add(range);
            await frozen.Disk("vda").Source.ReadAsync(range.Offset, before.AsMemory((int)range.Offset, (int)range.Length), EngineLab.Token);
        }

        await frozen.EndAsync(EngineLab.Token);
        await frozen.ConfirmAsync(EngineLab.Token);
        Assert.InRange(changed.Sum(range => range.Length), 104_096, 4 * 65_536);
        // What was there, with what is called changed, is what is there.
        var truth = Path.Combine(fixture.Host.Folder, "offoverlay-truth.raw");
        await Tool.RunAsync("qemu-img", ["convert", "-U", "-f", "qcow2", "-O", "raw", overlay, truth], EngineLab.Token);
        Assert.Equal(await File.ReadAllBytesAsync(truth, EngineLab.Token), before);

        var next = await lab.BackUpAsync(machine);
        await lab.AssertRestoresAsync(next, new Dictionary<string, byte[]> { ["vda"] = before });
        OfflineLab.AssertNothingLeft(lab);
        File.Delete(truth);
    }

    [Fact]
    public async Task OtherKindsOfImages_AreFullWithTheReason_OrSaidToBeLeftOut()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var folder = fixture.Host.Folder;
        await File.WriteAllTextAsync(lab.PathOf("secret"), "not so secret", EngineLab.Token);
        // A slow hash: qemu-img measures how long some rounds of it take, and fails when the clock of the process did not move meanwhile.
        const string Encryption = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.hash-alg=sha512";
        await Tool.RunAsync(
            "qemu-img",
            [
                "create", "-q", "-f", "qcow2", "--object", $"secret,id=s,file={lab.PathOf("secret")}", "-o", Encryption,
                Path.Combine(folder, "offkinds-vdd.qcow2"), $"{Mebi}",
            ],
            EngineLab.Token);
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "offkinds",
            new LabMachineOptions { Start = false },
            [
                new LabDisk("vda", 4 * Mebi) { Format = "raw" },
                new LabDisk("vdb", 4 * Mebi) { CreateOptions = "compat=0.10" },
                new LabDisk("vdc", 4 * Mebi) { CreateOptions = $"data_file={folder}/offkinds-data.raw,data_file_raw=on" },
                new LabDisk("vdd", null),
            ],
            EngineLab.Token);
        fixture.Host.GiveToQemu($"{folder}/offkinds-data.raw");
        await OfflineLab.WriteImageAsync(machine.ImagePath("vda"), "raw", "write -P 1 1M 70k");
        await OfflineLab.WriteImageAsync(machine.ImagePath("vdb"), "qcow2", "write -P 2 1M 70k");
        await OfflineLab.WriteImageAsync(machine.ImagePath("vdc"), "qcow2", "write -P 3 1M 70k");
        var truth = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var disk in (string[])["vda", "vdb", "vdc"])
            truth[disk] = await machine.ReadDiskAsync(disk, EngineLab.Token);
        Assert.All(truth.Values, content => Assert.Equal(71_680, content.Count(value => value != 0)));
        for (var round = 0; round < 2; round++)
        {
            var point = await lab.BackUpAsync(machine);
            await lab.AssertRestoresAsync(point, truth);
            var left = Assert.Single(point.NotProtected);
            Assert.Equal("vdd", left.Name);
            Assert.Contains("encrypted", left.Reason, StringComparison.Ordinal);
            if (round == 0)
                continue;
            Assert.Contains("raw images", point.Disks[0].Reason, StringComparison.Ordinal);
            Assert.Contains("compat=1.1", point.Disks[1].Reason, StringComparison.Ordinal);
            Assert.Contains("off at the last backup", point.Disks[2].Reason, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task DataFileWrittenBehindQemusBack_IsNoticed()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var data = Path.Combine(fixture.Host.Folder, "offdata.raw");
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "offdata",
            new LabMachineOptions { Start = false },
            [new LabDisk("vda", 4 * Mebi) { CreateOptions = $"data_file={data},data_file_raw=on" }],
            EngineLab.Token);
        fixture.Host.GiveToQemu(data);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 0, 2 * Mebi, 1, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", Mebi, Mebi, 2, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        AssertIncremental(await OfflineLab.BackUpStoppedAsync(lab, machine), "offline");
        await Task.Delay(20, EngineLab.Token);
        await OfflineLab.WriteImageAsync(data, "raw", "write -P 9 0 64k");
        AssertFull(await OfflineLab.BackUpStoppedAsync(lab, machine), "written to while nobody watched");
        await machine.StartAsync(EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var live = await lab.BackUpAsync(machine);
        AssertFull(live, "off at the last backup");
        await lab.AssertRestoresAsync(live, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task BlockDevice_IsReadInFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var device = await LoopDevice.TryCreateAsync(Path.Combine(fixture.Host.Folder, "offblock.img"), 8 * Mebi);
        Assert.SkipWhen(device is null, "No loop device can be made here.");
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "offblock",
            new LabMachineOptions { Start = false },
            [new LabDisk("vda", 8 * Mebi) { Format = "raw", Path = device.Path, IsBlockDevice = true }],
            EngineLab.Token);
        await OfflineLab.WriteImageAsync(device.Path, "raw", "write -P 5 3M 100k");
        var truth = await EngineLab.TruthAsync(machine);
        var point = await lab.BackUpAsync(machine);
        AssertFull(point, "first backup");
        await lab.AssertRestoresAsync(point, truth);
        lab.AtStep = step =>
        {
            if (step == RunStep.AllDisksRead)
                OfflineLab.WriteImageAsync(device.Path, "raw", "write -P 6 3M 100k").GetAwaiter().GetResult();
        };
        var failure = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
        Assert.Contains("was changed", failure.Message, StringComparison.Ordinal);
        OfflineLab.AssertNothingLeft(lab);
    }

    [Fact]
    public async Task SavedMachine_IsAsAfterAPowerCut_AndSaysSo()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "offsaved", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 2 * Mebi, 1, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.WriteAsync("vda", Mebi, 4096, 2, EngineLab.Token);
        await machine.VirshAsync(["managedsave", machine.Name], EngineLab.Token);
        var point = await OfflineLab.BackUpStoppedAsync(lab, machine);
        AssertIncremental(point, "crash");
        Assert.Contains("saved", Assert.Single(point.Warnings), StringComparison.Ordinal);
        await machine.VirshAsync(["start", machine.Name], EngineLab.Token);
        await machine.WriteAsync("vda", 2 * Mebi, 4096, 3, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var live = await lab.BackUpAsync(machine);
        AssertIncremental(live, "crash");
        await lab.AssertRestoresAsync(live, truth);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task PrunedWhileOff_TheBackupThatChangesCountFromStays()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "offpruned", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 2 * Mebi, 1, EngineLab.Token);
        var live = await lab.BackUpAsync(machine);
        await machine.StopAsync(EngineLab.Token);
        await lab.BackUpAsync(machine);
        var care = new Care.RepositoryCare(lab.Repository, TimeProvider.System);
        await care.PruneAsync(new Care.RetentionPolicy { Last = 1 }, [], dryRun: false, EngineLab.Token);
        AssertIncremental(await OfflineLab.BackUpStoppedAsync(lab, machine), "offline");
        // Whoever deletes it by name is told what that means.
        await care.ForgetAsync([live], [], EngineLab.Token);
        AssertFull(await OfflineLab.BackUpStoppedAsync(lab, machine), "is gone");
    }

    private static void AssertIncremental(PointInfo point, string consistency)
    {
        Assert.Equal(consistency, point.Consistency);
        Assert.All(point.Disks, disk => Assert.True(disk.Mode == "incremental", $"{disk.Name}: {disk.Reason}"));
    }

    private static void AssertFull(PointInfo point, string reason)
    {
        Assert.All(point.Disks, disk => Assert.Equal("full", disk.Mode));
        Assert.All(point.Disks, disk => Assert.Contains(reason, disk.Reason, StringComparison.Ordinal));
    }
}
