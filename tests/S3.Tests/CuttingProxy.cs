// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Sockets;

namespace Tidemark.S3.Tests;

/// <summary>
/// A bad line to the gateway: it passes bytes on in both directions and now and then cuts a connection just as the server's answer
/// comes, so that what was asked for has happened and nobody hears of it.
/// </summary>
internal sealed class CuttingProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly Random _random;
    private readonly double _rate;
    private readonly int _port;
    private readonly Task _accepting;
    private int _cuts;
    private bool _isGone;

    /// <param name="endpoint">The gateway.</param>
    /// <param name="random">Chooses what is cut.</param>
    /// <param name="rate">Share of the answers that are lost.</param>
    public CuttingProxy(string endpoint, Random random, double rate)
    {
        (_random, _rate, _port) = (random, rate, new Uri(endpoint).Port);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public string Endpoint => $"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    /// <summary>Every connection is cut, and none is made.</summary>
    public bool IsGone
    {
        get => Volatile.Read(ref _isGone);
        set => Volatile.Write(ref _isGone, value);
    }

    public int Cuts => Volatile.Read(ref _cuts);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        var relays = new List<Task>();
        try
        {
            while (true)
                relays.Add(RelayAsync(await _listener.AcceptTcpClientAsync(_stop.Token)));
        }
        finally
        {
            await Task.WhenAll(relays);
        }
    }

    private async Task RelayAsync(TcpClient client)
    {
        using (client)
        using (var server = new TcpClient())
        {
            try
            {
                if (IsGone)
                    return;
                await server.ConnectAsync(IPAddress.Loopback, _port, _stop.Token);
                (client.NoDelay, server.NoDelay) = (true, true);
                var there = CopyAsync(client.GetStream(), server.GetStream(), cuts: false);
                var back = CopyAsync(server.GetStream(), client.GetStream(), cuts: true);
                await Task.WhenAny(there, back);
                client.Close();
                server.Close();
                await Task.WhenAll(there, back);
            }
            catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
            {
                return; // either side hung up
            }
        }
    }

    private async Task CopyAsync(NetworkStream from, NetworkStream to, bool cuts)
    {
        var buffer = new byte[64 << 10];
        while (await from.ReadAsync(buffer, _stop.Token) is > 0 and var read)
        {
            if (IsGone || (cuts && Cut()))
                return;
            await to.WriteAsync(buffer.AsMemory(0, read), _stop.Token);
        }
    }

    private bool Cut()
    {
        lock (_gate)
        {
            if (_random.NextDouble() >= _rate)
                return false;
            _cuts++;
            return true;
        }
    }
}
