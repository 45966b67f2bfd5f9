// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Lab;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Tests;

/// <summary>Two repositories and other tools on one machine: every lineage is exact, none sees that there are others.</summary>
public sealed class ManyLineagesTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    /// <summary>Also when all records are lost in the middle: each repository tells its own again, and leaves the other's alone.</summary>
    [Fact]
    public async Task TwoRepositoriesOverSeveralRuns_AreEachExact()
    {
        await using var one = await EngineLab.CreateAsync(fixture);
        await using var two = await EngineLab.CreateAsync(fixture);
        var machine = await DefineAsync("two-lineages");
        var points = new List<(EngineLab Lab, PointInfo Point, IReadOnlyDictionary<string, byte[]> Truth)>();
        var random = new Random(7);
        for (var round = 0; round < 6; round++)
        {
            foreach (var lab in round == 2 ? [two] : round == 4 ? [one] : (EngineLab[])[one, two])
            {
                await machine.WriteAsync("vda", random.Next(7) * Mebi, 70_000, (byte)random.Next(256), EngineLab.Token);
                await machine.WriteAsync("vdb", random.Next(5) * Mebi, 70_000, (byte)random.Next(256), EngineLab.Token);
                var truth = await EngineLab.TruthAsync(machine);
                var point = await lab.BackUpAsync(machine);
                Assert.All(point.Disks, disk => Assert.Equal(round == 0 ? "full" : "incremental", disk.Mode));
                points.Add((lab, point, truth));
            }

            Assert.Equal(2, (await BitmapsAsync(one, machine)).Count);
            if (round == 3)
            {
                await machine.StopAsync(EngineLab.Token);
                await machine.DefineAnewAsync(EngineLab.Token);
                await machine.StartAsync(EngineLab.Token);
            }
        }

        foreach (var (lab, point, truth) in points)
            await lab.AssertRestoresAsync(point, truth);
        Assert.Equal(2, (await EngineLab.CheckpointsAsync(machine)).Count);
        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>Another tool's chain of checkpoints grows, loses its middle, and is read from, with ours in between.</summary>
    [Fact]
    public async Task ForeignLineageInBetween_IsNeverTouchedAndDisturbsNothing()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await DefineAsync("two-tools");
        var foreign = new List<string>();
        for (var round = 0; round < 5; round++)
        {
            await machine.WriteAsync("vda", round * Mebi, 70_000, (byte)(round + 1), EngineLab.Token);
            var name = $"nightly.{round}";
            await machine.Domain.CreateCheckpointAsync(
                CheckpointXml.Write(new CheckpointDescription(name, [new("vda", true), new("vdb", true)])),
                cancellationToken: EngineLab.Token);
            foreign.Add(name);
            await machine.WriteAsync("vdb", round * Mebi, 70_000, (byte)(round + 9), EngineLab.Token);
            var mode = round == 0 ? "full" : "incremental";
            await lab.AssertNextAsync(machine, mode, mode);
            if (round == 3)
            {
                await machine.Domain.DeleteCheckpointAsync(foreign[1], cancellationToken: EngineLab.Token);
                foreign.RemoveAt(1);
            }

            var found = await EngineLab.CheckpointsAsync(machine);
            Assert.Equal(foreign, found.Where(checkpoint => !checkpoint.StartsWith("tidemark-", StringComparison.Ordinal)));
            Assert.Equal(foreign.Count + 1, found.Count);
            Assert.Equal(found.Order(StringComparer.Ordinal), (await BitmapsAsync(lab, machine)).Order(StringComparer.Ordinal));
        }

        // The other tool's own increments are as large as they were: what was written since its newest checkpoint, and no more.
        await machine.WriteAsync("vda", 6 * Mebi, 65_536, 0x77, EngineLab.Token);
        var xml = await machine.Domain.GetCheckpointXmlAsync(
            foreign[^1], CheckpointXmlFlags.NoDomain | CheckpointXmlFlags.Size, EngineLab.Token);
        Assert.Equal(65_536, CheckpointXml.Read(xml).Disks.Single(disk => disk.Target == "vda").DirtyBytes);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task VirtnbdbackupCopyInBetween_DisturbsNothing()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await DefineAsync("copied-by-others");
        await lab.BackUpAsync(machine);
        for (var round = 0; round < 2; round++)
        {
            await machine.WriteAsync("vda", (round + 1) * Mebi, 70_000, (byte)(0x51 + round), EngineLab.Token);
            await CopyAsync(lab, machine, round);
            await machine.WriteAsync("vdb", (round + 2) * Mebi, 70_000, (byte)(0x61 + round), EngineLab.Token);
            await lab.AssertNextAsync(machine, "incremental", "incremental");
            await lab.AssertCleanAsync(machine);
        }

        await machine.StopAsync(EngineLab.Token);
    }

    private async Task<LabMachine> DefineAsync(string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 6 * Mebi));
        await machine.WriteAsync("vda", Mebi, 4 * Mebi, 0x31, EngineLab.Token);
        await machine.WriteAsync("vdb", 2 * Mebi, 3 * Mebi, 0x32, EngineLab.Token);
        return machine;
    }

    // It insists on a name and a password for such a URI; libvirt never asks for them.
    private static async Task CopyAsync(EngineLab lab, LabMachine machine, int round)
    {
        var scratch = machine.Host.CreateFolder($"nbd{round}");
        var target = lab.PathOf($"copy{round}");
        await Tool.RunAsync(
            "virtnbdbackup",
            [
                "-U", machine.Host.Uri, "--user", "none", "--password", "none", "-d", machine.Name, "-l", "copy", "-n", "-o", target,
                "-f", Path.Combine(scratch, "socket"), "-S", scratch,
            ],
            EngineLab.Token);
        Assert.Equal(2, Directory.GetFiles(target, "vd?.copy.data").Length);
        // It cancels its job and exits; libvirt ends the job a moment later.
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(EngineLab.Token);
        limit.CancelAfter(TimeSpan.FromSeconds(10));
        while ((await machine.Domain.GetJobStatsAsync(cancellationToken: limit.Token)).IsActive)
            await Task.Delay(20, limit.Token);
    }

    // Of the first disk.
    private static async Task<IReadOnlyList<string>> BitmapsAsync(EngineLab lab, LabMachine machine) =>
        [.. (await lab.Hypervisor.FindAsync(machine.Domain.Uuid.ToString(), EngineLab.Token))!.Disks[0].Bitmaps.Keys];
}
