// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Runs;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>A machine moves between two hosts, live, and is backed up from both into one repository.</summary>
public sealed class MigrationTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(true)]
    [InlineData(false)] // the definition stays on the host it left, with records of checkpoints that are gone when it comes back
    public async Task SharedStorage_StaysIncrementalThereAndBack(bool forgotten)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var other = await LabHost.StartAsync(EngineLab.Token);
        var machine = await StartAsync(lab, $"mg-shared-{forgotten}");
        await machine.MigrateAsync(other, forgotten, cancellationToken: EngineLab.Token);
        for (byte round = 1; round <= 2; round++)
        {
            await WriteAsync(machine, round);
            await AssertNextAsync(lab, machine, "incremental");
        }

        await machine.MigrateAsync(fixture.Host, forgotten, cancellationToken: EngineLab.Token);
        for (byte round = 3; round <= 4; round++)
        {
            await WriteAsync(machine, round);
            await AssertNextAsync(lab, machine, "incremental");
        }
    }

    [Fact]
    public async Task StorageCopiedAlong_IsFullOnceAndSaysWhy()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var other = await LabHost.StartAsync(EngineLab.Token);
        var machine = await StartAsync(lab, "mg-copied");
        var copies = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var disk in machine.Disks)
        {
            copies.Add(disk, Path.Combine(other.Folder, $"{machine.Name}-{disk}.qcow2"));
            var size = (await machine.Domain.GetBlockInfoAsync(disk, EngineLab.Token)).Capacity;
            await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", copies[disk], $"{size}"], EngineLab.Token);
            other.GiveToQemu(copies[disk]);
        }

        await machine.MigrateAsync(other, copies: copies, cancellationToken: EngineLab.Token);
        await WriteAsync(machine, 1);
        var point = await AssertNextAsync(lab, machine, "full");
        Assert.All(point.Disks, disk => Assert.Contains("another image", disk.Reason, StringComparison.Ordinal));
        await WriteAsync(machine, 2);
        await AssertNextAsync(lab, machine, "incremental");
    }

    // libvirt lets a migration wait for the end of our job: the run finishes, and then the machine goes, maybe while we still clean up.
    [Fact]
    public async Task MigratedDuringARun_TheRunIsRightAndTheMachineGoes()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var other = await LabHost.StartAsync(EngineLab.Token);
        var machine = await StartAsync(lab, "mg-during");
        await WriteAsync(machine, 1);
        var truth = await EngineLab.TruthAsync(machine);
        var moving = Task.CompletedTask;
        lab.AtStep = step =>
        {
            if (step != RunStep.Connected)
                return;
            moving = machine.MigrateAsync(other, cancellationToken: EngineLab.Token);
            Thread.Sleep(TimeSpan.FromSeconds(3)); // The run stands still, and virsh comes to wait for libvirt's lock.
            Assert.False(moving.IsCompleted);
        };
        var point = await lab.BackUpAsync(machine);
        lab.AtStep = _ => { };
        await moving;
        Assert.All(point.Disks, disk => Assert.Equal("incremental", disk.Mode));
        await lab.AssertRestoresAsync(point, truth);
        await WriteAsync(machine, 2);
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task MigratedBeforeTheRunDiedOnTheOldHost_TheNewHostCleansUp()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var other = await LabHost.StartAsync(EngineLab.Token);
        var machine = await StartAsync(lab, "mg-orphan");
        // A run that ended its job and never committed leaves its checkpoint, which moves along as a bitmap without a record.
        var orphan = $"tidemark-{lab.Repository.Part}-{Guid.NewGuid():n}";
        await machine.Domain.CreateCheckpointAsync(
            Libvirt.Xml.CheckpointXml.Write(new Libvirt.Xml.CheckpointDescription(orphan, [new("vda", true), new("vdb", true)])),
            cancellationToken: EngineLab.Token);
        await machine.MigrateAsync(other, cancellationToken: EngineLab.Token);
        await WriteAsync(machine, 1);
        await AssertNextAsync(lab, machine, "incremental");
        var nodes = await machine.QmpAsync("""{"execute":"query-named-block-nodes","arguments":{"flat":true}}""", EngineLab.Token);
        Assert.DoesNotContain(orphan, nodes.GetRawText(), StringComparison.Ordinal);
    }

    private async Task<LabMachine> StartAsync(EngineLab lab, string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 3 * Mebi, 0x11, EngineLab.Token);
        await machine.WriteAsync("vdb", Mebi, Mebi, 0x22, EngineLab.Token);
        await lab.BackUpAsync(machine);
        return machine;
    }

    private static async Task WriteAsync(LabMachine machine, byte pattern)
    {
        await machine.WriteAsync("vda", pattern * 300 * 1024, 70_144, pattern, EngineLab.Token);
        await machine.WriteAsync("vdb", pattern * 200 * 1024, 4096, pattern, EngineLab.Token);
    }

    // As Tidemark on the host where the machine is: with that host's libvirt, and folders of its own.
    private static async Task<PointInfo> AssertNextAsync(EngineLab lab, LabMachine machine, string mode)
    {
        var truth = await EngineLab.TruthAsync(machine);
        await using var hypervisor = await Hypervisors.ConnectAsync(machine.Host.Uri, EngineLab.Token);
        var folders = new HostFolders(
            lab.PathOf($"state-{machine.Host.DaemonProcessId}"), machine.Host.CreateFolder($"scratch-{machine.Name}"));
        var context = lab.Context(hypervisor, folders);
        var point = await BackupRun.RunAsync(context, $"{machine.Domain.Uuid:d}", new BackupOptions(), EngineLab.Token);
        Assert.True(
            point.Disks.All(disk => disk.Mode == mode), string.Join("; ", point.Disks.Select(disk => $"{disk.Mode}: {disk.Reason}")));
        await lab.AssertRestoresAsync(point, truth);
        Assert.Single(await EngineLab.CheckpointsAsync(machine));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folders.Scratch));
        Assert.Empty(Directory.EnumerateFiles(folders.Journal));
        return point;
    }
}
