// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Net.Sockets;

namespace Tidemark.Nbd.Tests;

/// <summary>
/// A server that does exactly what a test says, over a real unix socket. The script runs for the first connection;
/// what it throws, the test sees at the end.
/// </summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    public const long Size = 1 << 20;

    public const uint ContextId = 7;

    private readonly TempFolder _folder = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    public ScriptedServer(Func<ScriptedServer, Task> script)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(_folder["s"]));
        _listener.Listen();
        _running = RunAsync(script);
    }

    public NbdUri Uri => NbdUri.ForUnixSocket(_folder["s"], "disk");

    public Socket Peer { get; private set; } = null!;

    public async Task SendAsync(params byte[][] parts)
    {
        foreach (var part in parts)
            await Peer.SendAsync(part, SocketFlags.None, _stop.Token);
    }

    public Task SendAsync(string hex) => SendAsync(Hex(hex));

    public async Task<byte[]> ReceiveAsync(int length)
    {
        var bytes = new byte[length];
        for (var at = 0; at < length;)
        {
            var count = await Peer.ReceiveAsync(bytes.AsMemory(at), SocketFlags.None, _stop.Token);
            if (count == 0)
                throw new EndOfStreamException($"Client closed after {at} of {length} bytes.");
            at += count;
        }

        return bytes;
    }

    /// <summary>Until the client has closed.</summary>
    public async Task WaitForEndAsync()
    {
        var bytes = new byte[4096];
        try
        {
            while (await Peer.ReceiveAsync(bytes, SocketFlags.None, _stop.Token) > 0)
            {
            }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            // Closed with bytes of ours unread: ended all the same.
        }
    }

    public async Task GreetAsync()
    {
        await SendAsync("4e42444d41474943 49484156454f5054 0003");
        Assert.Equal(Hex("00000003"), await ReceiveAsync(4));
    }

    public async Task<(NbdOption Option, byte[] Data)> ReceiveOptionAsync()
    {
        var head = await ReceiveAsync(16);
        Assert.Equal(NbdMagic.Option, BinaryPrimitives.ReadUInt64BigEndian(head));
        return ((NbdOption)BinaryPrimitives.ReadUInt32BigEndian(head.AsSpan(8)),
            await ReceiveAsync(BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(12))));
    }

    public Task ReplyAsync(NbdOption option, NbdOptionReply reply, params byte[] data) =>
        SendAsync(Bytes(NbdMagic.OptionReply, (uint)option, (uint)reply, (uint)data.Length), data);

    /// <summary>Greeting to GO, with structured replies and one context, or with neither.</summary>
    public async Task ShakeHandsAsync(bool isStructured = true, uint minimum = 1, string context = NbdMetaContext.BaseAllocation)
    {
        await GreetAsync();
        while (true)
        {
            var (option, _) = await ReceiveOptionAsync();
            if (!isStructured && option != NbdOption.Go)
            {
                await ReplyAsync(option, NbdOptionReply.ErrorUnsupported);
                continue;
            }

            if (option == NbdOption.SetMetaContext)
                await ReplyAsync(option, NbdOptionReply.MetaContext, [.. Bytes(ContextId), .. System.Text.Encoding.UTF8.GetBytes(context)]);
            if (option == NbdOption.Go)
            {
                await ReplyAsync(option, NbdOptionReply.Info, [.. Bytes((ushort)NbdInfo.Export, (ulong)Size), .. Hex("0D6D")]);
                await ReplyAsync(option, NbdOptionReply.Info, Bytes((ushort)NbdInfo.BlockSize, minimum, 4096u, 1u << 20));
            }

            await ReplyAsync(option, NbdOptionReply.Ack);
            if (option == NbdOption.Go)
                return;
        }
    }

    public async Task<NbdRequestHeader> ReceiveRequestAsync() => NbdRequestHeader.Read(await ReceiveAsync(NbdRequestHeader.Size));

    public static byte[] Simple(NbdError error, ulong cookie) => Bytes(NbdMagic.SimpleReply, (uint)error, cookie);

    public static byte[] Chunk(NbdChunkType type, bool isDone, ulong cookie, params byte[] payload) =>
        [.. Bytes(NbdMagic.StructuredReply, (ushort)(isDone ? 1 : 0), (ushort)type, cookie, (uint)payload.Length), .. payload];

    /// <summary>Spaces are for the reader.</summary>
    public static byte[] Hex(string hex) => Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));

    /// <summary>Unsigned numbers, big-endian, one after the other.</summary>
    public static byte[] Bytes(params object[] numbers)
    {
        using var stream = new MemoryStream();
        foreach (var number in numbers)
        {
            var bytes = number switch
            {
                ushort n => BitConverter.GetBytes(n),
                uint n => BitConverter.GetBytes(n),
                ulong n => BitConverter.GetBytes(n),
                _ => throw new ArgumentException($"{number.GetType()} has no place on the wire.", nameof(numbers)),
            };
            Array.Reverse(bytes);
            stream.Write(bytes);
        }

        return stream.ToArray();
    }

    public async ValueTask DisposeAsync()
    {
        // A script that waits for a client that is gone, or never came, ends here; its failed assertions come through.
        var finished = await Task.WhenAny(_running, Task.Delay(TimeSpan.FromSeconds(3), CancellationToken.None));
        await _stop.CancelAsync();
        _listener.Dispose();
        try
        {
            await _running;
        }
        catch (Exception e) when (finished != _running && e is OperationCanceledException or SocketException)
        {
        }
        finally
        {
            Peer?.Dispose();
            _folder.Dispose();
            _stop.Dispose();
        }
    }

    private async Task RunAsync(Func<ScriptedServer, Task> script)
    {
        Peer = await _listener.AcceptAsync(_stop.Token);
        try
        {
            await script(this);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.Shutdown or SocketError.ConnectionReset)
        {
            return; // the client has seen enough and hung up, which many a script provokes
        }
        finally
        {
            Peer.Dispose();
        }
    }
}
