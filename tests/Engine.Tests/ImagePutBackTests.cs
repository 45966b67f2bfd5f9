// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using static Tidemark.Engine.Tests.AuditedDisk;

namespace Tidemark.Engine.Tests;

/// <summary>Images and data files that change behind QEMU's back, or are put back to an older state.</summary>
public sealed class ImagePutBackTests(LabFixture fixture)
{
    [Fact]
    public async Task DiskWithADataFile_IsTracked_AndWritesBehindQemusBackAreFoundAndHealed()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (machine, data) = await StartWithDataFileAsync("behind");
        await lab.BackUpAsync(machine, Audit(100));
        await machine.WriteAsync("vda", 3 * Chunk, Chunk, 0x51, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var point = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal(("incremental", Chunk), (point.Disks[0].Mode, point.Disks[0].ReadBytes));
        await lab.AssertRestoresAsync(point, truth);

        Overwrite(data, 30 * Chunk + 77, 0x52); // while it runs
        truth = await EngineLab.TruthAsync(machine);
        var healed = await lab.BackUpAsync(machine, Audit(100));
        AssertHealed(healed);
        await lab.AssertRestoresAsync(healed, truth);

        await machine.StopAsync(EngineLab.Token);
        Overwrite(data, 50 * Chunk, 0x53); // while it is off
        await machine.StartAsync(EngineLab.Token);
        truth = await EngineLab.TruthAsync(machine);
        healed = await lab.BackUpAsync(machine, Audit(100));
        AssertHealed(healed);
        await lab.AssertRestoresAsync(healed, truth);
        var next = await lab.BackUpAsync(machine, Audit(100));
        Assert.Equal(("incremental", 0L), (next.Disks[0].Mode, next.Disks[0].ReadBytes));
        await lab.AssertRestoresAsync(next, truth);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task DataFilePutBackToAnOlderState_IsNoticedWhateverItsTime()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (machine, data) = await StartWithDataFileAsync("older");
        await lab.BackUpAsync(machine, Audit(0));
        await machine.StopAsync(EngineLab.Token);
        var old = data + ".old";
        File.Copy(data, old);
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 12 * Chunk, 2 * Chunk, 0x61, EngineLab.Token);
        Assert.Equal("incremental", (await lab.BackUpAsync(machine, Audit(0))).Disks[0].Mode);

        foreach (var (keepsTime, reason) in new[] { (true, "older than at the last backup"), (false, "calls them unchanged") })
        {
            await machine.StopAsync(EngineLab.Token);
            File.Copy(old, data, overwrite: true); // into the same file
            File.SetLastWriteTimeUtc(data, keepsTime ? File.GetLastWriteTimeUtc(old) : DateTime.UtcNow);
            await machine.StartAsync(EngineLab.Token);
            var truth = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine, Audit(0));
            Assert.Equal("full", point.Disks[0].Mode);
            Assert.Contains(reason, point.Disks[0].Reason, StringComparison.Ordinal);
            await lab.AssertRestoresAsync(point, truth);
            await machine.WriteAsync("vda", 12 * Chunk, 2 * Chunk, 0x62, EngineLab.Token);
            truth = await EngineLab.TruthAsync(machine);
            point = await lab.BackUpAsync(machine, Audit(0));
            Assert.Equal("incremental", point.Disks[0].Mode);
            await lab.AssertRestoresAsync(point, truth);
        }

        await machine.StopAsync(EngineLab.Token);
        File.Move(data, data + ".moved");
        File.Copy(data + ".moved", data);
        fixture.Host.GiveToQemu(data);
        await machine.StartAsync(EngineLab.Token);
        Assert.Contains("another data file", (await lab.BackUpAsync(machine, Audit(0))).Disks[0].Reason, StringComparison.Ordinal);
        await machine.StopAsync(EngineLab.Token);
    }

    // The bitmaps lie in the image: put back to an older state, it either knows what differs from the last backup, or no bitmap fits.
    [Fact]
    public async Task ImagePutBackToAnOlderState_IsExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(fixture, "putback");
        await lab.BackUpAsync(machine, Audit(0));
        await machine.WriteAsync("vda", 3 * Chunk, Chunk, 0x71, EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        var old = machine.ImagePath("vda") + ".old";
        File.Copy(machine.ImagePath("vda"), old);
        foreach (var backUp in (bool[])[false, true])
        {
            await machine.StartAsync(EngineLab.Token);
            await machine.WriteAsync("vda", 9 * Chunk, 2 * Chunk, 0x72, EngineLab.Token);
            if (backUp)
                await lab.BackUpAsync(machine, Audit(0));
            await machine.StopAsync(EngineLab.Token);
            File.Copy(old, machine.ImagePath("vda"), overwrite: true);
            await machine.StartAsync(EngineLab.Token);
            var truth = await EngineLab.TruthAsync(machine);
            var point = await lab.BackUpAsync(machine, Audit(0));
            Assert.Equal(backUp ? "full" : "incremental", point.Disks[0].Mode);
            await lab.AssertRestoresAsync(point, truth);
            await machine.StopAsync(EngineLab.Token);
            File.Copy(machine.ImagePath("vda"), old, overwrite: true);
        }
    }

    private async Task<(LabMachine Machine, string DataFile)> StartWithDataFileAsync(string name)
    {
        var data = Path.Combine(fixture.Host.Folder, $"audit-{name}.data");
        var disk = new LabDisk("vda", Chunks * Chunk) { CreateOptions = $"data_file={data},data_file_raw=on" };
        var machine = await LabMachine.DefineAsync(
            fixture.Host, $"audit-{name}", new LabMachineOptions { Start = false }, [disk], EngineLab.Token);
        fixture.Host.GiveToQemu(data); // libvirt knows nothing of this file
        await machine.StartAsync(EngineLab.Token);
        await machine.WriteAsync("vda", 0, Chunks * Chunk, 0x50, EngineLab.Token);
        return (machine, data);
    }

    private static void Overwrite(string file, long offset, byte value)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        stream.Seek(offset, SeekOrigin.Begin);
        stream.WriteByte(value);
    }
}
