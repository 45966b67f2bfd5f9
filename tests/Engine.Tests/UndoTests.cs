// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Care;
using Tidemark.Engine.Points;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>A point that is brought back takes the place it had among the machine's states.</summary>
public sealed class UndoTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task OlderPointBroughtBack_IsNotTheLatest_NorTheBase_NorWhatPruneKeepsInItsStead()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "undone", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        var monday = await lab.BackUpAsync(machine);
        var mondays = await EngineLab.TruthAsync(machine);
        await machine.WriteAsync("vda", Mebi, Mebi, 2, EngineLab.Token);
        var friday = await lab.BackUpAsync(machine);
        var care = new RepositoryCare(lab.Repository, TimeProvider.System);
        await care.ForgetAsync([monday], [], EngineLab.Token);
        var back = (await care.UndoAsync(monday, EngineLab.Token)).BroughtBack!;
        Assert.NotEqual(monday.Id, back.Id);

        var points = (await lab.Repository.PointsAsync(EngineLab.Token)).Points;
        Assert.Equal(friday.Id, PointName.Resolve("undone@latest", points).Id);
        Assert.Equal(friday.Id, PointName.Resolve($"undone@{friday.Time.AddSeconds(1):yyyy-MM-ddTHH:mm:ss}Z", points).Id);
        await lab.AssertRestoresAsync(back, mondays);
        var plan = await care.PruneAsync(new RetentionPolicy { Last = 1 }, [], dryRun: true, EngineLab.Token);
        Assert.Equal([friday.Id], plan.Points.Where(point => point.Keep).Select(point => point.Id));

        await machine.WriteAsync("vda", 2 * Mebi, Mebi, 3, EngineLab.Token);
        var next = await lab.BackUpAsync(machine, new BackupOptions { Quiesce = Machines.Quiesce.Off });
        Assert.Equal("incremental", next.Disks[0].Mode);
        await lab.AssertRestoresAsync(next, await EngineLab.TruthAsync(machine));
        await lab.AssertCleanAsync(machine);
        await machine.StopAsync(EngineLab.Token);
    }
}
