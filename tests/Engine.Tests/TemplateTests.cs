// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>Machines whose disks lie on another machine's image.</summary>
public sealed class TemplateTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task BackupOfALinkedClone_LeavesTheTemplatesBitmapAlone()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var template = await LabMachine.DefineAsync(fixture.Host, "template", new LabDisk("vda", 4 * Mebi));
        await template.WriteAsync("vda", 0, Mebi, 1, EngineLab.Token);
        await lab.BackUpAsync(template);
        await template.StopAsync(EngineLab.Token);
        var image = template.ImagePath("vda");
        var before = await File.ReadAllBytesAsync(image, EngineLab.Token);

        var overlay = Path.Combine(fixture.Host.Folder, "clone-vda.qcow2");
        await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, overlay], EngineLab.Token);
        fixture.Host.GiveToQemu(overlay);
        var clone = await LabMachine.DefineAsync(fixture.Host, "clone", new LabDisk("vda", null) { Path = overlay });
        await clone.WriteAsync("vda", Mebi, Mebi, 2, EngineLab.Token);
        foreach (var mode in (string[])["full", "incremental"])
        {
            var truth = await EngineLab.TruthAsync(clone);
            var point = await lab.BackUpAsync(clone);
            Assert.Equal(mode, point.Disks[0].Mode);
            Assert.DoesNotContain(lab.Notices, notice => notice.Contains("was removed", StringComparison.Ordinal));
            await lab.AssertRestoresAsync(point, truth);
            await clone.WriteAsync("vda", 2 * Mebi, Mebi, 3, EngineLab.Token);
        }

        await clone.StopAsync(EngineLab.Token);
        Assert.Equal(before, await File.ReadAllBytesAsync(image, EngineLab.Token));
        await template.StartAsync(EngineLab.Token);
        await template.WriteAsync("vda", 3 * Mebi, 4096, 4, EngineLab.Token);
        await lab.AssertNextAsync(template, "incremental");
        await template.StopAsync(EngineLab.Token);
    }
}
