// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Qemu.Tests;

public sealed class QemuImgTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task CreatedImage_IsDescribedWithFormatSizeAndVersion()
    {
        var image = ImageRef.File(_folder["a,b c.qcow2"], "qcow2");
        await QemuImg.CreateAsync(image, 10 << 20, Token, new() { ClusterSize = 4096, Compat = "1.1" });
        var info = await QemuImg.InfoAsync(image, Token);
        Assert.Equal("qcow2", info.Format);
        Assert.Equal(10 << 20, info.VirtualSize);
        Assert.Equal(4096, info.ClusterSize);
        Assert.Equal("1.1", info.Compat);
        Assert.Empty(info.Bitmaps);
        Assert.False(info.Encrypted);
    }

    [Fact]
    public async Task Bitmap_IsListedUntilRemoved()
    {
        var image = ImageRef.File(_folder["a.qcow2"], "qcow2");
        await QemuImg.CreateAsync(image, 1 << 20, Token);
        await QemuImg.AddBitmapAsync(image, "mark-1", Token);
        var bitmap = Assert.Single((await QemuImg.InfoAsync(image, Token)).Bitmaps);
        Assert.Equal(("mark-1", 65536L, true, false), (bitmap.Name, bitmap.Granularity, bitmap.Records, bitmap.InUse));
        await QemuImg.RemoveBitmapAsync(image, "mark-1", Token);
        Assert.Empty((await QemuImg.InfoAsync(image, Token)).Bitmaps);
    }

    [Fact]
    public async Task OldQcow2_RefusesABitmapInTheToolsOwnWords()
    {
        var image = ImageRef.File(_folder["old.qcow2"], "qcow2");
        await QemuImg.CreateAsync(image, 1 << 20, Token, new() { Compat = "0.10" });
        Assert.Equal("0.10", (await QemuImg.InfoAsync(image, Token)).Compat);
        var e = await Assert.ThrowsAsync<ImageToolException>(() => QemuImg.AddBitmapAsync(image, "b", Token));
        Assert.Equal("qemu-img", e.Tool);
        Assert.Equal(1, e.ExitCode);
        Assert.Contains("Cannot store dirty bitmaps in qcow2 v2 files", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Overlay_NamesItsBackingImage()
    {
        var under = ImageRef.File(_folder["base.raw"], "raw");
        var over = ImageRef.File(_folder["over.qcow2"], "qcow2");
        await QemuImg.CreateAsync(under, 1 << 20, Token);
        await QemuImg.CreateAsync(over, 1 << 20, Token, new() { Backing = under });
        var info = await QemuImg.InfoAsync(over, Token);
        Assert.Equal((under.Location, "raw"), (info.FullBackingPath, info.BackingFormat));
    }

    [Fact]
    public async Task ConvertedContent_ComparesEqualUntilOneByteDiffers()
    {
        var random = new Random(11);
        var content = new byte[(3 << 20) + 512];
        random.NextBytes(content.AsSpan(1 << 20, 1 << 20));
        var raw = ImageRef.File(_folder["a.raw"], "raw");
        var copy = ImageRef.File(_folder["a.qcow2"], "qcow2");
        await File.WriteAllBytesAsync(raw.Location, content, Token);
        await QemuImg.ConvertAsync(raw, copy, Token);
        Assert.Equal(content.Length, (await QemuImg.InfoAsync(copy, Token)).VirtualSize);
        Assert.True(await QemuImg.CompareAsync(raw, copy, Token));

        content[1_500_000] ^= 1;
        await File.WriteAllBytesAsync(raw.Location, content, Token);
        Assert.False(await QemuImg.CompareAsync(raw, copy, Token));
    }

    [Fact]
    public async Task ShrinkingWithoutSayingSo_IsRefused()
    {
        var image = ImageRef.File(_folder["a.qcow2"], "qcow2");
        await QemuImg.CreateAsync(image, 4 << 20, Token);
        await QemuImg.ResizeAsync(image, 8 << 20, Token);
        Assert.Equal(8 << 20, (await QemuImg.InfoAsync(image, Token)).VirtualSize);
        await Assert.ThrowsAsync<ImageToolException>(() => QemuImg.ResizeAsync(image, 2 << 20, Token));
        await QemuImg.ResizeAsync(image, 2 << 20, Token, shrink: true);
        Assert.Equal(2 << 20, (await QemuImg.InfoAsync(image, Token)).VirtualSize);
    }

    [Fact]
    public async Task NamedFormat_IsNotProbed()
    {
        // A guest that writes a qcow2 header into its raw disk must not be able to turn the disk into something else.
        var trap = ImageRef.File(_folder["disk"], "qcow2");
        await QemuImg.CreateAsync(trap, 1 << 30, Token);
        Assert.Equal("qcow2", (await QemuImg.ProbeAsync(trap.Location, Token)).Format);
        var info = await QemuImg.InfoAsync(ImageRef.File(trap.Location, "raw"), Token);
        Assert.Equal("raw", info.Format);
        Assert.True(info.VirtualSize < 1 << 20);
    }

    [Fact]
    public async Task NameThatLooksLikeAProtocol_StaysAFile()
    {
        var odd = ImageRef.File(_folder["nbd:localhost:1"], "raw");
        await QemuImg.CreateAsync(odd, 1 << 20, Token);
        Assert.Equal(1 << 20, new FileInfo(odd.Location).Length);
    }

    [Fact]
    public async Task MissingImage_IsNamedInTheMessage()
    {
        var e = await Assert.ThrowsAsync<ImageToolException>(() => QemuImg.InfoAsync(ImageRef.File("/nowhere/x.qcow2", "qcow2"), Token));
        Assert.Contains("/nowhere/x.qcow2", e.Message, StringComparison.Ordinal);
        Assert.Contains("No such file", e.ToolMessage, StringComparison.Ordinal);
    }

    [Fact]
    public void MissingTool_NamesItsPackage()
    {
        var e = Assert.Throws<ImageToolException>(() => ToolPath.Find("qemu-img", ["/nowhere"]));
        Assert.Equal("The program 'qemu-img' is not installed; the package 'qemu-utils' holds it.", e.Message);
        Assert.Null(e.ExitCode);
    }

    [Fact]
    public async Task CancelledTool_IsEndedAndLeavesNoProcess()
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(Token);
        source.CancelAfter(TimeSpan.FromMilliseconds(200));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => OwnedProcess.RunAsync("sleep", ["100.125"], "sleep", source.Token));
        Assert.DoesNotContain(
            Directory.EnumerateDirectories("/proc"),
            p => File.Exists(p + "/cmdline") && ReadOrEmpty(p + "/cmdline").Contains("100.125", StringComparison.Ordinal));
    }

    private static string ReadOrEmpty(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return "";
        }
    }
}
