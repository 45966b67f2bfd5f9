// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Nodes;
using Tidemark.Qemu.Qmp;

namespace Tidemark.Qemu.Tests;

/// <summary>The client against a real QEMU and a real storage daemon.</summary>
public sealed class QmpTests : IAsyncLifetime
{
    private readonly TempFolder _folder = new();
    private OwnedProcess? _qemu;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private string Socket => _folder["q"];

    public async ValueTask InitializeAsync()
    {
        _qemu = await OwnedProcess.StartAsync("qemu-system-x86_64",
        [
            "-machine", "none", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", $"unix:{Socket},server=on,wait=off",
        ]);
        await WaitForAsync(Socket);
    }

    public async ValueTask DisposeAsync()
    {
        await _qemu!.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task Greeting_TellsTheVersion()
    {
        await using var qmp = await QmpClient.ConnectAsync(Socket, Token);
        Assert.True(qmp.Version.Major >= 5, qmp.Version.ToString());
        var status = await qmp.ExecuteAsync("query-status", null, Token);
        Assert.False(status.GetProperty("running").GetBoolean());
    }

    [Fact]
    public async Task RefusedCommand_CarriesClassAndDescription_AndTheConnectionLives()
    {
        await using var qmp = await QmpClient.ConnectAsync(Socket, Token);
        var e = await Assert.ThrowsAsync<QmpCommandException>(() => qmp.ExecuteAsync("no-such-command", null, Token));
        Assert.Equal("CommandNotFound", e.ErrorClass);
        Assert.Equal("no-such-command", e.Command);
        e = await Assert.ThrowsAsync<QmpCommandException>(
            () => qmp.ExecuteAsync("blockdev-del", new JsonObject { ["node-name"] = "näme \"x\"" }, Token));
        Assert.Equal("GenericError", e.ErrorClass);
        Assert.Contains("näme \"x\"", e.Description, StringComparison.Ordinal);
        await qmp.ExecuteAsync("query-status", null, Token);
    }

    [Fact]
    public async Task ManyCommandsAtOnce_EachGetTheirOwnReply()
    {
        await using var qmp = await QmpClient.ConnectAsync(Socket, Token);
        await Task.WhenAll(Enumerable.Range(0, 200).Select(async number =>
        {
            var name = $"node{number}";
            var add = new JsonObject { ["driver"] = "null-co", ["node-name"] = name, ["size"] = number };
            await qmp.ExecuteAsync("blockdev-add", add, Token);
            var e = await Assert.ThrowsAsync<QmpCommandException>(
                () => qmp.ExecuteAsync("blockdev-del", new JsonObject { ["node-name"] = $"not-{name}" }, Token));
            Assert.Contains($"not-{name}", e.Description, StringComparison.Ordinal);
        }));
        var nodes = await qmp.ExecuteAsync("query-named-block-nodes", null, Token);
        Assert.Equal(200, nodes.GetArrayLength());
    }

    [Fact]
    public async Task Events_ArriveInOrderWithTheirTime()
    {
        await using var qmp = await QmpClient.ConnectAsync(Socket, Token);
        await qmp.ExecuteAsync("cont", null, Token);
        await qmp.ExecuteAsync("stop", null, Token);
        var events = new List<QmpEvent>();
        await foreach (var item in qmp.EventsAsync(Token))
        {
            events.Add(item);
            if (item.Name == "STOP")
                break;
        }

        Assert.Equal("RESUME STOP", string.Join(' ', events.Select(e => e.Name)));
        Assert.InRange(events[0].Time, DateTimeOffset.UtcNow.AddMinutes(-1), DateTimeOffset.UtcNow.AddMinutes(1));
        await Assert.ThrowsAsync<TimeoutException>(() => qmp.WaitForAsync(_ => true, TimeSpan.FromMilliseconds(50), Token));
    }

    [Fact]
    public async Task Quit_GivesTheShutdownEvent_AndThenEveryCallIsRefused()
    {
        await using var qmp = await QmpClient.ConnectAsync(Socket, Token);
        await qmp.ExecuteAsync("quit", null, Token);
        await qmp.WaitForAsync(e => e.Name == "SHUTDOWN", TimeSpan.FromSeconds(10), Token);
        Assert.Equal(0, await _qemu!.Ended.WaitAsync(TimeSpan.FromSeconds(10), Token));
        await Assert.ThrowsAsync<QmpClosedException>(() => qmp.WaitForAsync(_ => false, TimeSpan.FromSeconds(10), Token));
        await Assert.ThrowsAsync<QmpClosedException>(() => qmp.ExecuteAsync("query-status", null, Token));
    }

    [Fact]
    public async Task SecondClient_IsNotGreetedUntilTheFirstLeft()
    {
        await using (await QmpClient.ConnectAsync(Socket, Token))
        {
            var socket = new System.Net.Sockets.Socket(
                System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
            await socket.ConnectAsync(new System.Net.Sockets.UnixDomainSocketEndPoint(Socket), Token);
            var stream = new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
            var e = await Assert.ThrowsAsync<QmpClosedException>(
                () => QmpClient.OpenAsync(stream, Socket, Token, TimeSpan.FromMilliseconds(300)));
            Assert.Contains("may be serving another client", e.Message, StringComparison.Ordinal);
        }

        await using var second = await QmpClient.ConnectAsync(Socket, Token);
        await second.ExecuteAsync("query-status", null, Token);
    }

    [Fact]
    public async Task StorageDaemon_KeepsABitmapAddedThroughIt()
    {
        var image = ImageRef.File(_folder["i.qcow2"], "qcow2");
        await QemuImg.CreateAsync(image, 1 << 20, Token);
        var socket = _folder["d"];
        await using (var daemon = await OwnedProcess.StartAsync("qemu-storage-daemon",
        [
            "--chardev", $"socket,path={socket},server=on,wait=off,id=m", "--monitor", "chardev=m",
            "--blockdev", $"driver=qcow2,node-name=n,file.driver=file,file.filename={image.Location}",
        ]))
        {
            await WaitForAsync(socket);
            await using var qmp = await QmpClient.ConnectAsync(socket, Token);
            var add = new JsonObject { ["node"] = "n", ["name"] = "mark", ["persistent"] = true };
            await qmp.ExecuteAsync("block-dirty-bitmap-add", add, Token);
            await qmp.ExecuteAsync("quit", null, Token);
            Assert.Equal(0, await daemon.Ended.WaitAsync(TimeSpan.FromSeconds(10), Token));
        }

        Assert.Equal("mark", Assert.Single((await QemuImg.InfoAsync(image, Token)).Bitmaps).Name);
    }

    [Fact]
    public async Task NobodyListening_IsSaidWithThePath()
    {
        var e = await Assert.ThrowsAsync<QmpClosedException>(() => QmpClient.ConnectAsync(_folder["none"], Token));
        Assert.Contains(_folder["none"], e.Message, StringComparison.Ordinal);
    }

    // The socket file appears a moment before QEMU listens.
    private static async Task WaitForAsync(string path)
    {
        for (var waited = 0; ; waited++)
        {
            try
            {
                await using var client = await QmpClient.ConnectAsync(path, Token);
                return;
            }
            catch (QmpClosedException) when (waited < 1000)
            {
                await Task.Delay(10, Token);
            }
        }
    }
}
