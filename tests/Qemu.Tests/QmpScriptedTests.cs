// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text;
using Tidemark.Qemu.Qmp;

namespace Tidemark.Qemu.Tests;

/// <summary>Peers that break the protocol: each gives one clear error, for the pending call and for every later one.</summary>
public sealed class QmpScriptedTests : IDisposable
{
    private const string Greeting =
        """{"QMP":{"version":{"qemu":{"micro":1,"minor":2,"major":7},"package":"x"},"capabilities":["oob"]}}""" + "\r\n";

    private readonly TempFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("this is not json\n")]
    [InlineData("{\"return\":{},\"id\":999}\n")]
    [InlineData("{\"something\":1}\n")]
    [InlineData("{\"return\":{},\"id\":\"text\"}\n")]
    [InlineData("{\"error\":{\"class\":\"GenericError\",\"desc\":\"JSON parse error\"}}\n")]
    [InlineData("null\n")]
    [InlineData("[]\n")]
    public async Task BrokenLine_EndsTheConnectionWithAProtocolError(string line)
    {
        var (qmp, peer) = await ConnectAsync();
        await using var client = qmp;
        await using var server = peer;
        var call = qmp.ExecuteAsync("query-status", null, Token);
        await NextCommandAsync(peer);
        await peer.WriteAsync(Encoding.UTF8.GetBytes(line), Token);
        await Assert.ThrowsAsync<QmpProtocolException>(() => call);
        await Assert.ThrowsAsync<QmpProtocolException>(() => qmp.ExecuteAsync("query-status", null, Token));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"return\":{},\"id\":2")]
    public async Task PeerThatHangsUp_EndsPendingCalls(string last)
    {
        var (qmp, peer) = await ConnectAsync();
        await using var client = qmp;
        var call = qmp.ExecuteAsync("query-status", null, Token);
        await NextCommandAsync(peer);
        await peer.WriteAsync(Encoding.UTF8.GetBytes(last), Token);
        await peer.DisposeAsync();
        await Assert.ThrowsAsync<QmpClosedException>(() => call);
    }

    [Fact]
    public async Task LateReply_IsIgnoredAndTheNextCallIsRight()
    {
        var (qmp, peer) = await ConnectAsync();
        await using var client = qmp;
        await using var server = peer;
        await Assert.ThrowsAsync<TimeoutException>(() => qmp.ExecuteAsync("slow", null, Token, TimeSpan.FromMilliseconds(50)));
        await NextCommandAsync(peer);
        var next = qmp.ExecuteAsync("next", null, Token);
        await NextCommandAsync(peer);
        await peer.WriteAsync("{\"return\":{\"is\":2},\"id\":2}\n{\"return\":{\"is\":3},\"id\":3}\n"u8.ToArray(), Token);
        Assert.Equal(3, (await next).GetProperty("is").GetInt32());
    }

    [Fact]
    public async Task EventsBeyondTheLimit_DropTheOldestAndAreCounted()
    {
        var (qmp, peer) = await ConnectAsync();
        await using var client = qmp;
        await using var server = peer;
        for (var number = 0; number < 5000; number++)
        {
            var line = $"{{\"event\":\"E{number}\",\"timestamp\":{{\"seconds\":-1,\"microseconds\":-1}}}}\n";
            await peer.WriteAsync(Encoding.UTF8.GetBytes(line), Token);
        }

        var last = qmp.ExecuteAsync("next", null, Token);
        await NextCommandAsync(peer);
        await peer.WriteAsync("{\"return\":{},\"id\":2}\n"u8.ToArray(), Token);
        await last;
        Assert.Equal(5000 - 4096, qmp.LostEvents);
        var first = await qmp.WaitForAsync(_ => true, TimeSpan.FromSeconds(5), Token);
        Assert.Equal("E904", first.Name);
    }

    private async Task<(QmpClient Client, NetworkStream Peer)> ConnectAsync()
    {
        var path = _folder["q"];
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        var connecting = QmpClient.ConnectAsync(path, Token);
        var peer = new NetworkStream(await listener.AcceptAsync(Token), ownsSocket: true);
        await peer.WriteAsync(Encoding.UTF8.GetBytes(Greeting), Token);
        await NextCommandAsync(peer);
        await peer.WriteAsync("{\"return\":{},\"id\":1}\n"u8.ToArray(), Token);
        return (await connecting, peer);
    }

    private static async Task NextCommandAsync(NetworkStream peer)
    {
        var one = new byte[1];
        do
            await peer.ReadExactlyAsync(one, Token);
        while (one[0] != '\n');
    }
}
