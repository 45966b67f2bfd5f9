// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Tidemark.Qemu.Tests;

public sealed class QemuNbdTests : IDisposable
{
    private const string ChildVariable = "TIDEMARK_QEMU_TEST_CHILD";
    private readonly TempFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task ServedImage_AcceptsAClientTheMomentItIsReady()
    {
        var image = await ImageAsync("qcow2");
        for (var round = 0; round < 10; round++)
        {
            await using var server = await QemuNbd.ServeAsync(new() { Image = image, SocketPath = _folder["s"] }, Token);
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(server.SocketPath), Token);
            var magic = new byte[8];
            await using var stream = new NetworkStream(socket);
            await stream.ReadExactlyAsync(magic, Token);
            Assert.Equal("NBDMAGIC"u8.ToArray(), magic);
        }

        Assert.Empty(Directory.GetFiles(_folder.Path, "s*"));
    }

    [Theory]
    [InlineData("qcow2", CacheMode.Writeback)]
    [InlineData("raw", CacheMode.Unsafe)]
    public async Task WritesThroughTheServer_AreInTheImageAfterStop(string format, CacheMode cache)
    {
        var random = new Random(5);
        var content = new byte[(2 << 20) + 4096];
        random.NextBytes(content.AsSpan(64 << 10, 1 << 20));
        var source = ImageRef.File(_folder["source"], "raw");
        await File.WriteAllBytesAsync(source.Location, content, Token);
        var image = ImageRef.File(_folder["image"], format);
        await QemuImg.CreateAsync(image, content.Length, Token);
        await using (var server = await QemuNbd.ServeAsync(
            new() { Image = image, SocketPath = _folder["s"], ReadOnly = false, ExportName = "d/1", Cache = cache }, Token))
        {
            var export = ImageRef.Nbd($"nbd+unix:///d/1?socket={server.SocketPath}");
            await OwnedProcess.RunAsync(
                "qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source.Location, export.Location], "copy", Token);
            Assert.True(await QemuImg.CompareAsync(source, export, Token));
            await server.StopAsync();
        }

        Assert.True(await QemuImg.CompareAsync(source, image, Token));
    }

    [Fact]
    public async Task ReadOnlyServer_RefusesWrites()
    {
        var image = await ImageAsync("raw");
        await using var server = await QemuNbd.ServeAsync(new() { Image = image, SocketPath = _folder["s"] }, Token);
        var write = OwnedProcess.RunAsync(
            "qemu-io", ["-f", "raw", "-c", "write 0 64k", $"nbd+unix:///?socket={server.SocketPath}"], "write", Token);
        var e = await Assert.ThrowsAsync<ImageToolException>(() => write);
        Assert.Contains("Permission denied", e.ToolMessage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ImageThatCannotBeOpened_IsReportedInTheServersWords()
    {
        var e = await Assert.ThrowsAsync<ImageToolException>(
            () => QemuNbd.ServeAsync(new() { Image = ImageRef.File(_folder["none"], "raw"), SocketPath = _folder["s"] }, Token));
        Assert.Equal("qemu-nbd", e.Tool);
        Assert.Contains("No such file", e.ToolMessage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ImageInUse_IsRefusedByItsLock()
    {
        var image = await ImageAsync("qcow2");
        await using var first = await QemuNbd.ServeAsync(new() { Image = image, SocketPath = _folder["s"], ReadOnly = false }, Token);
        var e = await Assert.ThrowsAsync<ImageToolException>(
            () => QemuNbd.ServeAsync(new() { Image = image, SocketPath = _folder["t"], ReadOnly = false }, Token));
        Assert.Contains("lock", e.ToolMessage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ServerThatDied_IsAnErrorAtStop()
    {
        var image = await ImageAsync("qcow2");
        await using var server = await QemuNbd.ServeAsync(new() { Image = image, SocketPath = _folder["s"], ReadOnly = false }, Token);
        using (var process = Process.GetProcessById(server.ProcessId))
            process.Kill();
        Assert.Equal(137, await server.Ended.WaitAsync(TimeSpan.FromSeconds(10), Token));
        Assert.Equal(137, (await Assert.ThrowsAsync<ImageToolException>(server.StopAsync)).ExitCode);
    }

    [Fact]
    public async Task SocketPathTooLong_IsRefusedBeforeAnythingStarts()
    {
        var options = new QemuNbdOptions { Image = await ImageAsync("raw"), SocketPath = "/tmp/" + new string('x', 103) };
        var e = await Assert.ThrowsAsync<ArgumentException>(() => QemuNbd.ServeAsync(options, Token));
        Assert.Contains("has 108 bytes; at most 107", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OwnerKilled_TakesTheServerWithIt()
    {
        var image = await ImageAsync("qcow2");
        var start = new ProcessStartInfo(Environment.ProcessPath!, [])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            Environment = { [ChildVariable] = $"{image.Location}\n{_folder["s"]}" },
        };
        if (Path.GetFileNameWithoutExtension(start.FileName) == "dotnet")
            start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        using var owner = Process.Start(start)!;
        int server;
        try
        {
            server = int.Parse((await owner.StandardOutput.ReadLineAsync(Token))!, CultureInfo.InvariantCulture);
            await Task.Delay(300, Token);
            Assert.True(Directory.Exists($"/proc/{server}"), "The server ended before its owner.");
        }
        finally
        {
            owner.Kill();
        }

        for (var waited = 0; IsRunning(server); waited++)
        {
            Assert.True(waited < 100, "The server outlived its owner by five seconds.");
            await Task.Delay(50, Token);
        }
    }

    // A killed orphan may stay as a zombie where process 1 does not wait for it.
    private static bool IsRunning(int processId)
    {
        try
        {
            var status = File.ReadAllText($"/proc/{processId}/stat");
            return status[status.LastIndexOf(')') + 2] != 'Z';
        }
        catch (IOException)
        {
            return false;
        }
    }

    private async Task<ImageRef> ImageAsync(string format)
    {
        var image = ImageRef.File(_folder[$"image.{format}"], format);
        await QemuImg.CreateAsync(image, 4 << 20, Token);
        return image;
    }

    // This executable is also the owner that is killed in OwnerKilled_TakesTheServerWithIt.
    [ModuleInitializer]
    internal static void RunAsOwner()
    {
        if (Environment.GetEnvironmentVariable(ChildVariable)?.Split('\n') is not [var image, var socket])
            return;
        var options = new QemuNbdOptions { Image = ImageRef.File(image, "qcow2"), SocketPath = socket };
        var server = QemuNbd.ServeAsync(options, CancellationToken.None).GetAwaiter().GetResult();
        Console.Out.WriteLine(server.ProcessId);
        Console.Out.Flush();
        Thread.Sleep(Timeout.Infinite);
    }
}
