// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Xml.Linq;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Doctor;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;
using Tidemark.Lab;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;
using Tidemark.Storage;

namespace Tidemark.Engine.Tests;

/// <summary>What befalls records and bitmaps in two steps: something that is harmless at first, and what comes after it.</summary>
public sealed class LateTroubleTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    /// <summary>libvirt keeps the records of a renamed machine until it is started anew itself.</summary>
    [Fact]
    public async Task RenamedAndLibvirtStartedAnew_GoesOnIncrementally()
    {
        await using var host = await LabHost.StartAsync(EngineLab.Token);
        await using var lab = await EngineLab.CreateAsync(host);
        var machine = await StartAsync(lab, "late-name");
        await machine.WriteAsync("vda", 5 * Mebi, 70_000, 0x17, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        await machine.VirshAsync(["domrename", machine.Name, "late-name-after"], EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        Assert.Single(await EngineLab.CheckpointsAsync(machine));
        await host.StopDaemonAsync(cancellationToken: EngineLab.Token);
        await host.StartDaemonAsync(EngineLab.Token);
        Assert.Empty(await EngineLab.CheckpointsAsync(machine));
        foreach (var changed in (bool[])[true, false])
        {
            var point = await lab.BackUpAsync(machine);
            Assert.Equal("late-name-after", point.Machine);
            Assert.All(point.Disks, disk => Assert.Equal("incremental", disk.Mode));
            Assert.Equal(changed, point.Disks[0].ReadBytes > 0);
            await lab.AssertRestoresAsync(point, truth);
            await lab.AssertCleanAsync(machine);
        }
    }

    /// <summary>The images are read by a process of ours: whether libvirt lives matters only for what it is asked in the end.</summary>
    [Theory]
    [InlineData(RunStep.Connected)]
    [InlineData(RunStep.FirstDiskRead)]
    [InlineData(RunStep.Stored)]
    public async Task LibvirtStartedAnewDuringAnOfflineRun_FinishesRight(RunStep step)
    {
        await using var host = await LabHost.StartAsync(EngineLab.Token);
        await using var lab = await EngineLab.CreateAsync(host);
        var machine = await StartAsync(lab, $"late-{step}".ToLowerInvariant());
        await machine.WriteAsync("vda", 6 * Mebi, 70_000, 0x18, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        lab.AtStep = reached =>
        {
            if (reached != step)
                return;
            lab.AtStep = _ => { };
            host.StopDaemonAsync(kill: true, EngineLab.Token).GetAwaiter().GetResult();
            host.StartDaemonAsync(EngineLab.Token).GetAwaiter().GetResult();
        };
        var before = host.DaemonProcessId;
        var point = await lab.BackUpAsync(machine);
        Assert.NotEqual(before, host.DaemonProcessId);
        Assert.All(point.Disks, disk => Assert.Equal("incremental", disk.Mode));
        await lab.AssertRestoresAsync(point, truth);
        OfflineLab.AssertNothingLeft(lab);
        await OfflineLab.BackUpStoppedAsync(lab, machine);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vdb", 2 * Mebi, 70_000, 0x19, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await lab.AssertCleanAsync(machine);
    }

    /// <summary>Older programs kept no records in a point; each disk's own words are enough to tell libvirt again.</summary>
    [Fact]
    public async Task PointWithoutRecords_IsEnoughToRedefine()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "late-older", new LabDisk("vda", 4 * Mebi), new LabDisk("vdb", 2 * Mebi));
        await machine.WriteAsync("vda", Mebi, Mebi, 0x21, EngineLab.Token);
        await machine.WriteAsync("vdb", 0, Mebi, 0x22, EngineLab.Token);
        await BackUpAsOlderProgramAsync(lab, machine);
        var point = Assert.Single(await lab.Repository.PointsOfAsync(machine.Domain.Uuid.ToString("d"), EngineLab.Token));
        Assert.Null(point.Checkpoints);
        await machine.WriteAsync("vda", 3 * Mebi, 4096, 0x23, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        await machine.DefineAnewAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        Assert.Empty(await EngineLab.CheckpointsAsync(machine));
        var next = await lab.AssertNextAsync(machine, "incremental", "incremental");
        Assert.Equal((256 << 10, 0L), (next.Disks[0].ReadBytes, next.Disks[1].ReadBytes));
        Assert.Contains(lab.Notices, text => text.Contains("so it was told again", StringComparison.Ordinal));
        await lab.AssertCleanAsync(machine);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>Until it runs on the new host, QEMU has not taken its images over, and knows nothing of their bitmaps.</summary>
    [Fact]
    public async Task MigratedAndStillPaused_IsFull_AndGoesOnIncrementally()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var other = await LabHost.StartAsync(EngineLab.Token);
        var machine = await StartAsync(lab, "late-paused");
        await machine.WriteAsync("vda", 6 * Mebi, 70_000, 0x24, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        await machine.MigrateAsync(other, staysPaused: true, cancellationToken: EngineLab.Token);
        await lab.MoveAsync(other, "other-state");
        var point = await lab.BackUpAsync(machine);
        Assert.All(point.Disks, disk => Assert.Equal("full", disk.Mode));
        Assert.All(point.Disks, disk => Assert.Contains("missing on this disk", disk.Reason, StringComparison.Ordinal));
        await lab.AssertRestoresAsync(point, truth);
        await machine.Domain.ResumeAsync(EngineLab.Token);
        await machine.Domain.SuspendAsync(EngineLab.Token);
        await machine.WriteAsync("vdb", 3 * Mebi, 70_000, 0x25, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await lab.AssertCleanAsync(machine);
        var left = (await lab.Hypervisor.FindAsync(machine.Domain.Uuid.ToString(), EngineLab.Token))!;
        Assert.All(left.Disks, disk => Assert.Single(disk.Bitmaps)); // those that came along are gone
    }

    /// <summary>A disk that the machine may only read for a while is left out; then it is taken up again.</summary>
    [Fact]
    public async Task DiskReadOnlyForAWhile_IsLeftOut_AndTakenUpAgain()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "late-readonly");
        await machine.WriteAsync("vdb", 4 * Mebi, 70_000, 0x26, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        var written = await machine.Domain.GetXmlAsync(DomainXmlFlags.Inactive, EngineLab.Token);
        var document = XDocument.Parse(written);
        document.Descendants("disk").Single(disk => (string?)disk.Element("target")!.Attribute("dev") == "vdb")
            .Add(new XElement("readonly"));
        await fixture.Host.Connection.DefineDomainAsync(document.ToString(), cancellationToken: EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 6 * Mebi, 70_000, 0x27, EngineLab.Token);
        for (var round = 0; round < 2; round++)
        {
            var point = await lab.BackUpAsync(machine);
            Assert.Equal(("vda", "incremental"), (Assert.Single(point.Disks).Name, point.Disks[0].Mode));
            Assert.Equal("read-only", Assert.Single(point.NotProtected).Reason);
            Assert.DoesNotContain(lab.Notices, text => text.Contains("checkpoint", StringComparison.OrdinalIgnoreCase));
            await lab.AssertCleanAsync(machine, checkpoints: 2); // the one that the disk left out goes on from, too
        }

        await using (var examiner = await Hypervisors.ExamineAsync(lab.Host.Uri, EngineLab.Token))
        {
            var facts = await examiner.ReadMachineAsync(machine.Domain.Uuid.ToString(), EngineLab.Token);
            Assert.Equal(
                [("disk 'vda' of 'late-readonly'", Severity.Ok)],
                Doctor.Checks.BitmapChecks.Judge(facts, lab.Repository.Part).Select(finding => (finding.Subject, finding.Severity)));
            Assert.Contains(
                Doctor.Checks.DiskChecks.Judge(facts),
                finding => finding.Subject.Contains("'vdb'", StringComparison.Ordinal)
                    && finding.What.Contains("read-only", StringComparison.Ordinal));
        }

        await machine.StopAsync(EngineLab.Token);
        await fixture.Host.Connection.DefineDomainAsync(written, cancellationToken: EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vdb", Mebi, 70_000, 0x28, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental", "incremental");
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    private static async Task<LabMachine> StartAsync(EngineLab lab, string name)
    {
        var machine = await LabMachine.DefineAsync(lab.Host, name, new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 6 * Mebi));
        await machine.WriteAsync("vda", Mebi, 4 * Mebi, 0x31, EngineLab.Token);
        await machine.WriteAsync("vdb", 2 * Mebi, 3 * Mebi, 0x32, EngineLab.Token);
        await lab.BackUpAsync(machine);
        return machine;
    }

    // The machine is paused, so its disks at the checkpoint are its disks now. What an older program wrote has no records and no audit.
    private static async Task BackUpAsOlderProgramAsync(EngineLab lab, LabMachine machine)
    {
        var id = RunId.New();
        var checkpoint = new CheckpointName(lab.Repository.Part, id.Value).ToString();
        var tracked = machine.Disks.Select(disk => new CheckpointDisk(disk, true)).ToList();
        await machine.Domain.CreateCheckpointAsync(
            CheckpointXml.Write(new CheckpointDescription(checkpoint, tracked)),
            cancellationToken: EngineLab.Token);
        var found = (await lab.Hypervisor.FindAsync(machine.Domain.Uuid.ToString(), EngineLab.Token))!;
        await using var run = await lab.Repository.Repository.BeginRunAsync(
            new MachineId(found.Uuid), new BackupRunOptions { Id = id }, EngineLab.Token);
        var disks = new List<DraftDisk>();
        foreach (var disk in found.Disks)
        {
            var writer = run.OpenDisk(disk.Name, disk.Size, BackupOptions.DefaultChunkLog2, null);
            var content = await machine.ReadDiskAsync(disk.Name, EngineLab.Token);
            for (var at = 0; at < content.Length; at += writer.ChunkSize)
            {
                var buffer = MemoryPool<byte>.Shared.Rent(writer.ChunkSize);
                content.AsSpan(at, writer.ChunkSize).CopyTo(buffer.Memory.Span);
                await writer.WriteAsync(at / writer.ChunkSize, buffer, EngineLab.Token);
            }

            disks.Add(new DraftDisk(await writer.FinishAsync(EngineLab.Token), new PointDisk
            {
                Mode = "full",
                Checkpoint = checkpoint,
                Identity = ImageDocuments.Write(disk),
            }));
        }

        var draft = new RestorePointDraft
        {
            Name = found.Name,
            Uuid = found.Uuid,
            Time = DateTimeOffset.UtcNow,
            Consistency = "crash",
            Disks = disks,
        };
        await run.CommitAsync(draft, EngineLab.Token);
    }
}
