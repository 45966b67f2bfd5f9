// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Verify;
using Tidemark.Lab;
using Tidemark.TestKit;

namespace Tidemark.Engine.Tests;

/// <summary>Damage in the repository, found by verify, and the next incremental backup that reads the lost bytes again.</summary>
public sealed class HealingTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData("d", "flip")]
    [InlineData("d", "delete")]
    [InlineData("m", "truncate")]
    [InlineData("m", "delete")]
    public async Task NextIncrementalBackup_HealsEveryPointThatSharesTheBytes(string kind, string how)
    {
        var random = new Random(Seed.Choose(71));
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(
            fixture.Host, $"heal{kind}{how}", new LabDisk("vda", 40 * Mebi), new LabDisk("vdb", 3 * Mebi + 512));
        foreach (var disk in machine.Disks)
        {
            for (var round = 0; round < 12; round++)
                await machine.WriteAsync(disk, random.Next(2 * Mebi / 512) * 512L, 64 << 10, (byte)random.Next(1, 256), EngineLab.Token);
        }

        await machine.WriteAsync("vda", 33 * Mebi, Mebi, 0x77, EngineLab.Token);
        var truth = await EngineLab.TruthAsync(machine);
        var first = await lab.BackUpAsync(machine);
        var second = await lab.BackUpAsync(machine);
        Damage(lab.RepositoryFolder, kind, how);
        var found = await VerifyAsync(lab, VerifyLevel.Packs);
        Assert.False(found.Ok);
        var pack = Assert.Single(found.Damaged);
        Assert.Equal(new[] { first.Id, second.Id }.Order(), pack.Points.Order());
        Assert.Equal(pack.Object, Assert.Single(found.Quarantined));

        // A tree that changed could not give its old nodes back; bytes that others share can.
        if (kind == "d")
            await machine.WriteAsync("vda", 5 * Mebi, 4096, 0x42, EngineLab.Token);
        var now = await EngineLab.TruthAsync(machine);
        var third = await lab.BackUpAsync(machine);
        Assert.All(third.Disks, disk => Assert.Equal("incremental", disk.Mode));
        Assert.Contains(third.Disks, disk => kind == "m"
            || disk.Reason.Contains("read again that the repository had lost", StringComparison.Ordinal));
        Assert.Equal(first.Disks[1].Root, third.Disks[1].Root);
        foreach (var level in Enum.GetValues<VerifyLevel>())
        {
            var healed = await VerifyAsync(lab, level);
            Assert.True(healed.Ok, string.Join(' ', healed.Damaged));
            Assert.Equal(pack.Object, Assert.Single(healed.Healed));
        }

        await lab.AssertRestoresAsync(third, now);
        foreach (var point in new[] { first, second })
            await lab.AssertRestoresAsync(point, truth);
        await lab.AssertCleanAsync(machine);

        // Nothing is left to heal: the next one reads what changed and no more.
        var fourth = await lab.BackUpAsync(machine);
        Assert.DoesNotContain(fourth.Disks, disk => disk.Reason.Contains("lost", StringComparison.Ordinal));
        Assert.All(fourth.Disks, disk => Assert.Equal(0, disk.ReadBytes));
        await lab.AssertRestoresAsync(fourth, now);
        await machine.StopAsync(EngineLab.Token);
    }

    [Fact]
    public async Task ChangedAndHurtRanges_ComeInOneOrder()
    {
        var changed = new Blocks.ByteRange[] { new(0, 10), new(50, 10), new(90, 5) };
        var hurt = new Blocks.ByteRange[] { new(5, 3), new(50, 20), new(60, 2), new(200, 1) };
        var merged = new List<Blocks.ByteRange>();
        await foreach (var range in HurtRanges.MergeAsync(changed.ToAsyncEnumerable(), hurt, EngineLab.Token))
            merged.Add(range);
        Assert.Equal(7, merged.Count);
        Assert.Equal(merged.OrderBy(range => range.Offset), merged);
        Assert.All(changed.Concat(hurt), range => Assert.Contains(range, merged));
    }

    private static Task<VerifyResult> VerifyAsync(EngineLab lab, VerifyLevel level) =>
        lab.Repository.VerifyAsync(new VerifyRequest { Level = level }, EngineLab.Token);

    private static void Damage(string folder, string kind, string how)
    {
        var pack = Directory.EnumerateFiles(Path.Combine(folder, "packs"), $"{kind}-*", SearchOption.AllDirectories)
            .MaxBy(file => new FileInfo(file).Length)!;
        var content = File.ReadAllBytes(pack);
        File.Delete(pack);
        if (how == "truncate")
        {
            File.WriteAllBytes(pack, content[..(content.Length / 2)]);
        }
        else if (how == "flip")
        {
            content[content.Length / 3] ^= 1;
            File.WriteAllBytes(pack, content);
        }
    }
}
