// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Restore;
using Tidemark.Lab;
using Tidemark.Lab.Guests;
using Tidemark.Libvirt;

namespace Tidemark.Engine.Tests;

/// <summary>A machine comes back under a new name with all that belonged to it, or not at all.</summary>
public sealed class MachineRestoreTests(LabFixture fixture)
{
    private const string Firmware = "/usr/share/seabios/bios-256k.bin"; // any code will do: no machine here runs an instruction
    private static CancellationToken Token => EngineLab.Token;

    [Fact]
    public async Task NvramKernelAndInitrd_ComeBackEqualAndRepointed_UnderANewIdentity()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        // QEMU looks at a kernel before it starts; the firmware's memory may hold anything.
        var image = await GuestImage.BuildAsync(GuestImage.DefaultCacheFolder, Token);
        var memory = new byte[128 << 10];
        new Random(7).NextBytes(memory);
        var files = new Dictionary<string, byte[]>(StringComparer.Ordinal)
        {
            ["nvram"] = memory,
            ["kernel"] = await File.ReadAllBytesAsync(image.Kernel, Token),
            ["initrd"] = await File.ReadAllBytesAsync(image.Initrd, Token),
        };
        foreach (var (role, content) in files)
        {
            await File.WriteAllBytesAsync(PathOf(role), content, Token);
            fixture.Host.GiveToQemu(PathOf(role));
        }

        var network = XElement.Parse("<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>");
        var options = new LabMachineOptions { MemoryMiB = 256, Devices = [network], Boot = Boot() };
        var machine = await LabMachine.DefineAsync(fixture.Host, "firm", options, [Disk], Token);
        await machine.WriteAsync("vda", 65536, 65536, 0x77, Token);
        var truth = await machine.ReadDiskAsync("vda", Token);
        var point = await lab.BackUpAsync(machine, new BackupOptions { Quiesce = Quiesce.Off });
        Assert.Empty(point.Warnings);
        await machine.StopAsync(Token);

        var folder = fixture.Host.CreateFolder("firmback");
        var result = await RestoreAsync(lab, point, folder, "firm2");
        Assert.Equal("firm2", result.Defined);
        Assert.Empty(result.Notes);
        var copy = await fixture.Host.Connection.GetDomainAsync("firm2", Token);
        Assert.NotEqual(machine.Domain.Uuid, copy.Uuid);
        var root = XElement.Parse(await copy.GetXmlAsync(DomainXmlFlags.Inactive, Token));
        Assert.NotEqual("52:54:00:11:22:33", root.Descendants("mac").Single().Attribute("address")!.Value);
        foreach (var (role, content) in files)
        {
            var path = root.Element("os")!.Element(role)!.Value;
            Assert.StartsWith(folder + "/", path, StringComparison.Ordinal);
            Assert.Equal(content, await File.ReadAllBytesAsync(path, Token));
        }

        var restoredImage = Path.Combine(folder, "firm2-vda.qcow2");
        Assert.Equal(restoredImage, root.Descendants("disk").Single().Element("source")!.Attribute("file")!.Value);
        await copy.StartAsync(DomainStartFlags.Paused, Token); // QEMU, as its own user, opens all of them
        await copy.DestroyAsync(Token);
        Assert.Equal(truth, await File.ReadAllBytesAsync((await lab.RestoreAsync(point))["vda"], Token));

        // A second time: the name is taken, and nothing is written.
        var again = fixture.Host.CreateFolder("firmagain");
        var error = await Assert.ThrowsAsync<EngineException>(() => RestoreAsync(lab, point, again, "firm2"));
        Assert.Contains("'firm2' already", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(again));
    }

    [Fact]
    public async Task FilesOfARunningMachine_AreThoseOfTheFrozenInstant_NotOfTheEndOfTheRun()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await File.WriteAllBytesAsync(PathOf("early"), new byte[128 << 10], Token);
        fixture.Host.GiveToQemu(PathOf("early"));
        XElement[] boot =
        [
            new("loader", new XAttribute("readonly", "yes"), new XAttribute("type", "pflash"), Firmware), new("nvram", PathOf("early")),
        ];
        var machine = await LabMachine.DefineAsync(fixture.Host, "early", new LabMachineOptions { Boot = boot }, [Disk], Token);
        lab.AtStep = step =>
        {
            if (step == Runs.RunStep.FirstDiskRead)
                File.WriteAllBytes(PathOf("early"), [.. Enumerable.Repeat((byte)0xEE, 128 << 10)]);
        };
        var point = await lab.BackUpAsync(machine, new BackupOptions { Quiesce = Quiesce.Off });
        await machine.StopAsync(Token);
        var folder = fixture.Host.CreateFolder("earlyback");
        await RestoreAsync(lab, point, folder, "early2");
        var copy = await fixture.Host.Connection.GetDomainAsync("early2", Token);
        var nvram = XElement.Parse(await copy.GetXmlAsync(DomainXmlFlags.Inactive, Token)).Element("os")!.Element("nvram")!.Value;
        Assert.Equal(new byte[128 << 10], await File.ReadAllBytesAsync(nvram, Token));
    }

    [Fact]
    public async Task MachineThatDoesNotStart_IsDefinedOnDisksThatStay_AndTheErrorSaysSo()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var network = XElement.Parse("<interface type='network'><source network='nowhere'/></interface>");
        var options = new LabMachineOptions { Devices = [network], Start = false };
        var machine = await LabMachine.DefineAsync(fixture.Host, "unstarted", options, [Disk], Token);
        var point = await lab.BackUpAsync(machine);
        var folder = fixture.Host.CreateFolder("unstartedback");
        var chosen = new RestoreOptions { Folder = folder, Define = true, Name = "unstarted2", Start = true };
        var error = await Assert.ThrowsAsync<EngineException>(() =>
            RestoreRun.RunAsync(lab.Repository, lab.Hypervisor, point, chosen, _ => { }, Token));
        Assert.Contains("The disks are restored and proved", error.Message, StringComparison.Ordinal);
        Assert.Contains("did not start", error.Message, StringComparison.Ordinal);
        Assert.Equal("mend that, then virsh start unstarted2", error.Hint);
        Assert.True(File.Exists(Path.Combine(folder, "unstarted2-vda.qcow2")));
        Assert.NotNull(await lab.Hypervisor.FindAsync("unstarted2", Token));
    }

    [Fact]
    public async Task DefinitionThatReachesIntoTheHost_IsRefusedBeforeAByteIsWritten_UnlessTrusted()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var console = Path.Combine(fixture.Host.Folder, "reaching.log");
        var serial = XElement.Parse($"<serial type='file'><source path='{console}'/></serial>");
        var machine = await LabMachine.DefineAsync(fixture.Host, "reaching", new LabMachineOptions { Devices = [serial] }, [Disk], Token);
        var point = await lab.BackUpAsync(machine);
        await machine.StopAsync(Token);

        var folder = fixture.Host.CreateFolder("reachback");
        var error = await Assert.ThrowsAsync<EngineException>(() => RestoreAsync(lab, point, folder, "reaching2"));
        Assert.Contains("<serial type='file'> reaches outside the guest", error.Message, StringComparison.Ordinal);
        Assert.Contains(console, error.Message, StringComparison.Ordinal);
        Assert.Contains("--trust-definition", error.Hint, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
        await Assert.ThrowsAsync<LibvirtNotFoundException>(() => fixture.Host.Connection.GetDomainAsync("reaching2", Token));

        await RestoreAsync(lab, point, folder, "reaching2", trust: true);
        Assert.Equal("reaching2", (await fixture.Host.Connection.GetDomainAsync("reaching2", Token)).Name);
    }

    private string PathOf(string role) => Path.Combine(fixture.Host.Folder, $"firm.{role}");

    private IReadOnlyList<XElement> Boot() =>
    [
        new("loader", new XAttribute("readonly", "yes"), new XAttribute("type", "pflash"), Firmware),
        new("nvram", PathOf("nvram")),
        new("kernel", PathOf("kernel")),
        new("initrd", PathOf("initrd")),
    ];

    private static LabDisk Disk => new("vda", (1 << 20) + 512);

    private static Task<RestoreResult> RestoreAsync(EngineLab lab, PointInfo point, string folder, string name, bool trust = false) =>
        RestoreRun.RunAsync(
            lab.Repository,
            lab.Hypervisor,
            point,
            new RestoreOptions { Folder = folder, Define = true, Name = name, TrustDefinition = trust },
            _ => { },
            Token);
}
