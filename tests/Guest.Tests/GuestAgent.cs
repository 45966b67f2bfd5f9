// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Tidemark.Guest.Tests;

/// <summary>One connection to the guest agent's socket, one command at a time.</summary>
internal sealed class GuestAgent : IAsyncDisposable
{
    private readonly NetworkStream _stream;
    private readonly StreamReader _reader;

    private GuestAgent(NetworkStream stream) => (_stream, _reader) = (stream, new StreamReader(stream));

    public static async Task<GuestAgent> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
        var agent = new GuestAgent(new NetworkStream(socket, ownsSocket: true));
        await agent.ExecuteAsync("guest-ping", cancellationToken);
        return agent;
    }

    public async Task<JsonElement> ExecuteAsync(string command, CancellationToken cancellationToken, JsonObject? arguments = null)
    {
        var request = new JsonObject { ["execute"] = command, ["arguments"] = arguments ?? [] };
        await _stream.WriteAsync(System.Text.Encoding.UTF8.GetBytes(request.ToJsonString() + "\n"), cancellationToken);
        var line = await _reader.ReadLineAsync(cancellationToken) ?? throw new EndOfStreamException("The agent's socket was closed.");
        using var reply = JsonDocument.Parse(line);
        return reply.RootElement.TryGetProperty("return", out var value)
            ? value.Clone()
            : throw new InvalidOperationException($"The agent refused '{command}': {line}");
    }

    public ValueTask DisposeAsync()
    {
        _reader.Dispose();
        return _stream.DisposeAsync();
    }
}
