// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Lab.Guests;
using Tidemark.Qemu;

namespace Tidemark.Guest.Tests;

/// <summary>The lab guest as a machine of a lab host: its definition starts, its agent answers through libvirt.</summary>
public sealed class GuestUnderLibvirtTests
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(60);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task FrozenThroughLibvirt_TheDiskIsCleanAndHoldsEveryAcknowledgedFile()
    {
        var image = await GuestImage.BuildAsync(GuestImage.DefaultCacheFolder, Token);
        await using var host = await LabHost.StartAsync(Token);
        var disk = new GuestDisk(Path.Combine(host.Folder, "vda.qcow2"), "qcow2");
        await QemuImg.CreateAsync(ImageRef.File(disk.Path, disk.Format), 128 << 20, Token);
        host.GiveToQemu(disk.Path);
        var definition = new GuestDefinition
        {
            Name = "guest",
            Image = image,
            Disks = [disk],
            ConsoleLog = Path.Combine(host.Folder, "console.log"),
        };
        var domain = await host.Connection.DefineDomainAsync(definition.DomainXml(), validate: true, Token);
        await domain.StartAsync(cancellationToken: Token);
        var log = new GuestLog(definition.ConsoleLog);
        await log.WaitForAsync("READY mode=writer disks=1", BootLimit, Token);
        await log.WaitForWritesAsync(20, BootLimit, Token);
        await new GuestCommands(domain).WaitUntilBootedAsync(BootLimit, Token); // the agent connects a little later

        var before = log.Position;
        Assert.Equal(1, await domain.FreezeFileSystemsAsync(cancellationToken: Token));
        await domain.SuspendAsync(Token);
        var raw = ImageRef.File(Path.Combine(host.Folder, "frozen.raw"), "raw");
        await QemuImg.ConvertAsync(ImageRef.File(disk.Path, disk.Format), raw, Token, inUse: true);
        await domain.ResumeAsync(Token);
        Assert.Equal(1, await domain.ThawFileSystemsAsync(Token));
        await log.WaitForWritesAsync(20, BootLimit, Token);

        var files = await log.FilesAsync(before, log.Position, Token);
        Assert.NotEmpty(files);
        (await GuestFiles.VerifyAsync(raw.Location, files, frozen: true, Token)).EnsureWhole();
        await domain.DestroyAsync(Token);
    }
}
