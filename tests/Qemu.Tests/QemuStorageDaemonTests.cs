// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Security.Cryptography;
using Tidemark.Qemu.Qmp;

namespace Tidemark.Qemu.Tests;

public sealed class QemuStorageDaemonTests : IDisposable
{
    private const int Mebi = 1 << 20;
    private readonly TempFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task OverlayOverBase_IsServedWhole_AndTheirBitmapsAreMergedInMemory()
    {
        var (top, below) = await ChainAsync();
        var before = await HashAsync();
        await using (var daemon = await ServeAsync())
        {
            var export = ImageRef.Nbd($"nbd+unix:///d?socket={_folder["nbd.sock"]}");
            Assert.True(await QemuImg.CompareAsync(top, export, Token));
            var (_, map) = await OwnedProcess.RunAsync(
                "nbdinfo", ["--map=qemu:dirty-bitmap:changes", "--totals", export.Location], "read the bitmap", Token);
            // 4 KiB in the base and 64 KiB in the overlay, each in 64 KiB of its own.
            Assert.Contains("131072", map, StringComparison.Ordinal);
            Assert.Equal(before, await HashAsync());
        }

        Assert.Equal(before, await HashAsync());
        Assert.Empty(Directory.GetFiles(_folder.Path, "*.pid"));
        Assert.Empty(Directory.GetFiles(_folder.Path, "*.sock"));

        async Task<string> HashAsync() => string.Join(' ', await Task.WhenAll(new[] { top, below }.Select(async image =>
            Convert.ToHexString(SHA256.HashData(await File.ReadAllBytesAsync(image.Location, Token))))));
    }

    [Fact]
    public async Task ServedImages_CanBeOpenedForWritingByOthers()
    {
        var (top, _) = await ChainAsync();
        await using var daemon = await ServeAsync();
        await OwnedProcess.RunAsync("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 64k", top.Location], "write", Token);
    }

    [Fact]
    public async Task BitmapThatOneImageLacks_IsRefused()
    {
        var (_, below) = await ChainAsync();
        await QemuImg.RemoveBitmapAsync(below, "c1", Token);
        Assert.Contains("c1", (await Assert.ThrowsAsync<QmpCommandException>(ServeAsync)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DaemonThatOutlivedItsOwner_IsFoundByItsFolderAndEnded()
    {
        await ChainAsync();
        var daemon = await ServeAsync();
        using var process = Process.GetProcessById(daemon.ProcessId);
        await QemuStorageDaemon.EndLeftoverAsync(_folder["elsewhere"], Token);
        Assert.False(process.HasExited);
        await QemuStorageDaemon.EndLeftoverAsync(_folder.Path, Token);
        await daemon.Ended;
        Assert.NotEmpty(await daemon.LastWordsAsync());
        await daemon.DisposeAsync();
    }

    [Fact]
    public async Task FolderThatIsGone_IsReported()
    {
        var failure = await Assert.ThrowsAsync<ImageToolException>(() => QemuStorageDaemon.StartAsync(_folder["none"], Token));
        Assert.Equal("qemu-storage-daemon", failure.Tool);
        Assert.NotEmpty(failure.ToolMessage);
    }

    private async Task<(ImageRef Top, ImageRef Below)> ChainAsync()
    {
        var (top, below) = (ImageRef.File(_folder["top"], "qcow2"), ImageRef.File(_folder["below"], "qcow2"));
        await QemuImg.CreateAsync(below, 8 * Mebi, Token, new ImageCreateOptions { ClusterSize = 4096 });
        await WriteAsync(below, "write -P 1 0 3M");
        await QemuImg.AddBitmapAsync(below, "c1", Token);
        await WriteAsync(below, "write -P 2 1M 4k");
        await QemuImg.CreateAsync(top, 8 * Mebi, Token, new ImageCreateOptions { Backing = below });
        await QemuImg.AddBitmapAsync(top, "c1", Token);
        await WriteAsync(top, "write -P 3 2M 64k");
        return (top, below);
    }

    private static Task WriteAsync(ImageRef image, string command) =>
        OwnedProcess.RunAsync("qemu-io", ["-f", image.Format, "-c", command, image.Location], command, Token);

    private async Task<QemuStorageDaemon> ServeAsync()
    {
        var daemon = await QemuStorageDaemon.StartAsync(_folder.Path, Token);
        try
        {
            await daemon.OpenAsync(
                new StorageImage { Node = "b", Format = "qcow2", File = new StorageFile(_folder["below"], IsDevice: false) }, Token);
            await daemon.OpenAsync(
                new StorageImage { Node = "t", Format = "qcow2", File = new StorageFile(_folder["top"], IsDevice: false), Backing = "b" },
                Token);
            await daemon.MergeBitmapsAsync("t", "changes", ["t", "b"], "c1", 64 << 10, Token);
            await daemon.ListenAsync(_folder["nbd.sock"], Token);
            await daemon.ExportAsync("t", "d", "changes", Token);
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }
}
