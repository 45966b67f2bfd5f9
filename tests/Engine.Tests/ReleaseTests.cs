// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>Operations that QEMU and libvirt refuse while there are bitmaps work after a release, and the backups after it are
/// exact.</summary>
public sealed class ReleaseTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task RevertToAnInternalSnapshot_IsRefusedBefore_AndWorksAfterTheRelease(bool releaseWhileRunning)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, $"reverted-{releaseWhileRunning}", new LabMachineOptions { Start = false }, [new LabDisk("vda", 4 * Mebi)],
            EngineLab.Token);
        await machine.VirshAsync(["snapshot-create-as", machine.Name, "inside"], EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.StopAsync(EngineLab.Token);
        var refusal = await Assert.ThrowsAsync<InvalidOperationException>(RevertAsync);
        Assert.Contains("active dirty bitmaps", refusal.Message, StringComparison.Ordinal);

        if (releaseWhileRunning)
            await machine.StartAsync(EngineLab.Token);
        Assert.Single((await ReleaseAsync(lab, machine)).Released);
        Assert.Empty(await EngineLab.CheckpointsAsync(machine));
        var written = await new RecordFile(lab.Folders.Checkpoints, machine.Domain.Uuid.ToString("d")).ReadAsync(EngineLab.Token);
        Assert.Empty(written!.Checkpoints);
        if (releaseWhileRunning)
            await machine.StopAsync(EngineLab.Token);
        await RevertAsync();

        await machine.StartAsync(EngineLab.Token);
        var full = await lab.AssertNextAsync(machine, "full");
        Assert.NotEmpty(full.Disks[0].Reason);
        Assert.NotEmpty(full.Warnings);
        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 2, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental");

        Task<string> RevertAsync() => machine.VirshAsync(["snapshot-revert", machine.Name, "inside"], EngineLab.Token);
    }

    [Fact]
    public async Task SnapshotOfDisksOnly_OfAMachineThatIsOff_WorksAfterTheRelease()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "offsnap", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        await lab.BackUpAsync(machine);
        await machine.StopAsync(EngineLab.Token);
        var refusal = await Assert.ThrowsAsync<InvalidOperationException>(SnapshotAsync);
        Assert.Contains("while checkpoint exists", refusal.Message, StringComparison.Ordinal);
        await ReleaseAsync(lab, machine);
        await SnapshotAsync();

        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", Mebi / 2, Mebi, 2, EngineLab.Token);
        await lab.AssertNextAsync(machine, "full");
        await machine.WriteAsync("vda", 3 * Mebi, 4096, 3, EngineLab.Token);
        await lab.AssertNextAsync(machine, "incremental");

        Task SnapshotAsync() => machine.SnapshotAsync("over", ["vda"], EngineLab.Token);
    }

    [Fact]
    public async Task Release_IsWrittenDownInAFolderThatHostsShareToo()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        lab.CheckpointFolder = lab.PathOf("shared");
        var machine = await LabMachine.DefineAsync(fixture.Host, "sharedrelease", new LabDisk("vda", 4 * Mebi));
        var point = await lab.BackUpAsync(machine);
        var file = Path.Combine(lab.CheckpointFolder, $"{machine.Domain.Uuid:d}.json");
        Assert.Contains(point.Disks[0].Checkpoint!, await File.ReadAllTextAsync(file, EngineLab.Token), StringComparison.Ordinal);
        await ReleaseAsync(lab, machine);
        Assert.DoesNotContain(point.Disks[0].Checkpoint!, await File.ReadAllTextAsync(file, EngineLab.Token), StringComparison.Ordinal);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task ReleaseDuringAJob_IsRefused()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "busyrelease", new LabDisk("vda", 4 * Mebi));
        await lab.BackUpAsync(machine);
        EngineException? refusal = null;
        lab.AtStep = step =>
        {
            if (step == Runs.RunStep.Connected)
                refusal = Assert.ThrowsAsync<EngineException>(() => ReleaseAsync(lab, machine)).GetAwaiter().GetResult();
        };
        await lab.BackUpAsync(machine);
        Assert.Equal(FailureKind.Busy, refusal?.Kind);
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }

    private static async Task<ReleaseResult> ReleaseAsync(EngineLab lab, LabMachine machine)
    {
        await using var examiner = await Hypervisors.ExamineAsync(lab.Host.Uri, EngineLab.Token);
        var facts = await examiner.ReadBitmapsAsync(machine.Domain.Uuid.ToString("d"), EngineLab.Token);
        return await CheckpointRelease.RunAsync(
            lab.Hypervisor, facts, lab.Repository.Part, lab.Folders, lab.CheckpointFolder, Assert.Fail, EngineLab.Token);
    }
}
