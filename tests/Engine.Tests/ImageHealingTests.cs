// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;
using Tidemark.Lab;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Tests;

/// <summary>Images put back, unplugged, lent to another machine, or whose bitmaps cannot be had: exact increments, or full.</summary>
public sealed class ImageHealingTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    /// <summary>An older copy is put back into the same file: same inode, same birth, and a bitmap of ours that looks whole.</summary>
    [Fact]
    public async Task ImageRolledBackInPlaceToBeforeTheLastBackup_IsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "rolled");
        await CopyAsideAsync(machine);
        await machine.WriteAsync("vda", 3 * Mebi, Mebi, 0x41, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await PutBackAsync(machine);
        var point = await lab.AssertNextAsync(machine, "full", "incremental");
        Assert.Contains("missing on this disk", point.Disks[0].Reason, StringComparison.Ordinal);
        Assert.Equal("incremental", (await lab.AssertNextAsync(machine, "incremental", "incremental")).Disks[0].Mode);
        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>The copy was made after the last backup: its bitmap holds all that was written until then, and no more is in it.</summary>
    [Fact]
    public async Task ImageRolledBackInPlaceToAfterTheLastBackup_GoesOnIncrementally()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "rolled-late");
        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 0x42, EngineLab.Token);
        await CopyAsideAsync(machine);
        await machine.WriteAsync("vda", 2 * Mebi, 2 * Mebi, 0x43, EngineLab.Token);
        await machine.WriteAsync("vda", 0, Mebi, 0x43, EngineLab.Token);
        await PutBackAsync(machine);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>A copy of the running image: its bitmaps are marked in use, and stay so.</summary>
    [Fact]
    public async Task CopyOfTheRunningImagePutBack_IsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "live-copy");
        await machine.StopAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 0x42, EngineLab.Token);
        await machine.FlushAsync("vda", EngineLab.Token);
        File.Copy(machine.ImagePath("vda"), machine.ImagePath("vda") + ".aside");
        await machine.WriteAsync("vda", 0, Mebi, 0x43, EngineLab.Token);
        await PutBackAsync(machine);
        var point = await lab.AssertNextAsync(machine, "full", "incremental");
        Assert.Contains("inconsistent", point.Disks[0].Reason, StringComparison.Ordinal);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task DiskUnpluggedLentAndPluggedInAgain_GoesOnIncrementally()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "lender");
        await machine.StopAsync(EngineLab.Token);
        var disk = await DiskXmlAsync(machine, "vdb");
        await machine.Domain.DetachDeviceAsync(disk, DomainAffect.Configuration, EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 3 * Mebi, 70_000, 0x44, EngineLab.Token);
        Assert.Equal("incremental", Assert.Single((await lab.BackUpAsync(machine)).Disks).Mode);
        await machine.StopAsync(EngineLab.Token);

        var borrower = await LabMachine.DefineAsync(
            fixture.Host, "borrower", new LabDisk("vda", null) { Path = machine.ImagePath("vdb") });
        await borrower.WriteAsync("vda", 4 * Mebi, Mebi, 0x45, EngineLab.Token);
        await borrower.StopAsync(EngineLab.Token);

        await machine.Domain.AttachDeviceAsync(disk, DomainAffect.Configuration, EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 5 * Mebi, 70_000, 0x46, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task BitmapHeldForAMoment_IsWaitedFor()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "held");
        await machine.WriteAsync("vda", 3 * Mebi, 70_000, 0x47, EngineLab.Token);
        var looks = 0;
        var point = await BackUpAsync(lab, machine, found => ++looks < 4 ? Held(found) : found);
        Assert.True(looks >= 4);
        Assert.All(point.Disks, disk => Assert.Equal("incremental", disk.Mode));
        await lab.AssertRestoresAsync(point, await EngineLab.TruthAsync(machine));
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task BitmapHeldForLong_IsFullAndSaysSo()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "held-long");
        var point = await BackUpAsync(lab, machine, Held);
        Assert.Equal(["full", "incremental"], point.Disks.Select(disk => disk.Mode));
        Assert.Contains("held by another operation", point.Disks[0].Reason, StringComparison.Ordinal);
        await lab.AssertRestoresAsync(point, await EngineLab.TruthAsync(machine));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>QEMU itself refuses the bitmap: here because of the qcow2 version, which the run was kept from seeing.</summary>
    [Fact]
    public async Task ImageThatTakesNoNewBitmap_IsBackedUpWithoutAndTheOtherIsTracked()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "crammed", new LabDisk("vda", 4 * Mebi), new LabDisk("vdb", 4 * Mebi) { CreateOptions = "compat=0.10" });
        await machine.WriteAsync("vdb", 0, Mebi, 0x48, EngineLab.Token);
        foreach (var mode in (string[])["full", "incremental"])
        {
            var point = await BackUpAsync(lab, machine, found => found with
            {
                Disks = found.Disks.Select(disk => disk with { Untrackable = null }).ToList(),
            });
            Assert.Equal([mode, "full"], point.Disks.Select(disk => disk.Mode));
            Assert.Contains(point.Warnings, text => text.Contains("'vdb' cannot be tracked", StringComparison.Ordinal));
            await lab.AssertRestoresAsync(point, await EngineLab.TruthAsync(machine));
            await lab.AssertCleanAsync(machine);
        }

        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>A bitmap that nobody has a record of lies below an overlay: QEMU alone would not remove it from there.</summary>
    [Fact]
    public async Task OrphansInImagesBelow_AreRemoved()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "below");
        var orphan = new CheckpointName(lab.Repository.Part, Guid.NewGuid()).ToString();
        await machine.Domain.CreateCheckpointAsync(
            CheckpointXml.Write(new CheckpointDescription(orphan, [new("vda", true), new("vdb", true)])),
            cancellationToken: EngineLab.Token);
        await machine.Domain.DeleteCheckpointAsync(orphan, CheckpointDeleteFlags.MetadataOnly, EngineLab.Token);
        await machine.SnapshotAsync("upper", ["vda"], EngineLab.Token);
        await machine.WriteAsync("vda", 3 * Mebi, 70_000, 0x49, EngineLab.Token);
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", EngineLab.Token)).EnumerateArray()
            .First(device => device.GetProperty("qdev").GetString()!.Contains("virtio-disk0", StringComparison.Ordinal))
            .GetProperty("inserted").GetProperty("node-name").GetString();
        await machine.QmpAsync(
            $$$"""{"execute":"block-dirty-bitmap-remove","arguments":{"node":"{{{node}}}","name":"{{{orphan}}}"}}""", EngineLab.Token);
        var before = await FindAsync(lab, machine);
        Assert.False(before.Disks[0].Bitmaps.ContainsKey(orphan));
        Assert.Contains(orphan, before.Disks[0].BitmapNames);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        var after = await FindAsync(lab, machine);
        var kept = await EngineLab.CheckpointsAsync(machine);
        Assert.All(after.Disks, disk => Assert.Equal(kept, disk.BitmapNames));
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task DiskShrunkAndGrownBack_IsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "shrunk");
        await machine.ResizeAsync("vda", 3 * Mebi, EngineLab.Token);
        await machine.ResizeAsync("vda", 8 * Mebi, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        await machine.DefineAnewAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        var point = await lab.AssertNextAsync(machine, "full", "incremental");
        Assert.Contains("not what the last backup", point.Disks[0].Reason, StringComparison.Ordinal);
        await machine.StopAsync(EngineLab.Token);
    }

    private async Task<LabMachine> StartAsync(EngineLab lab, string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 6 * Mebi));
        await machine.WriteAsync("vda", Mebi, 4 * Mebi, 0x31, EngineLab.Token);
        await machine.WriteAsync("vdb", 2 * Mebi, 3 * Mebi, 0x32, EngineLab.Token);
        await lab.BackUpAsync(machine);
        return machine;
    }

    private static async Task<Points.PointInfo> BackUpAsync(EngineLab lab, LabMachine machine, Func<Machine, Machine> change) =>
        await BackupRun.RunAsync(
            lab.Context() with { Hypervisor = ChangedHypervisor.Over(lab.Hypervisor, change) },
            machine.Domain.Uuid.ToString(),
            new BackupOptions(),
            EngineLab.Token);

    // As if another operation had the first disk's bitmaps.
    private static Machine Held(Machine machine) => machine.WithBitmaps(new HashSet<string> { "vda" }, BitmapHealth.Busy);

    private static async Task<Machine> FindAsync(EngineLab lab, LabMachine machine) =>
        (await lab.Hypervisor.FindAsync(machine.Domain.Uuid.ToString(), EngineLab.Token))!;

    private static async Task CopyAsideAsync(LabMachine machine)
    {
        await machine.StopAsync(EngineLab.Token);
        File.Copy(machine.ImagePath("vda"), machine.ImagePath("vda") + ".aside");
        await machine.StartAsync(EngineLab.Token);
    }

    // Into the same file: neither inode nor birth time tell.
    private static async Task PutBackAsync(LabMachine machine)
    {
        await machine.StopAsync(EngineLab.Token);
        var before = ImageIdentity.Read(machine.ImagePath("vda"));
        await using (var from = File.OpenRead(machine.ImagePath("vda") + ".aside"))
        await using (var to = new FileStream(machine.ImagePath("vda"), FileMode.Truncate, FileAccess.Write))
            await from.CopyToAsync(to, EngineLab.Token);
        Assert.Equal(before, ImageIdentity.Read(machine.ImagePath("vda")));
        await machine.StartAsync(EngineLab.Token);
    }

    private static async Task<string> DiskXmlAsync(LabMachine machine, string target) =>
        XDocument.Parse(await machine.Domain.GetXmlAsync(DomainXmlFlags.Inactive, EngineLab.Token)).Descendants("disk")
            .Single(disk => (string?)disk.Element("target")!.Attribute("dev") == target).ToString();
}
