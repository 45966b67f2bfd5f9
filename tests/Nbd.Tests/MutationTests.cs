// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.TestKit;

namespace Tidemark.Nbd.Tests;

/// <summary>A sound conversation with bytes changed, left out or cut: the client ends soon, with its own exceptions.</summary>
public sealed class MutationTests
{
    // Greeting, replies to three options: STRUCTURED_REPLY, SET_META_CONTEXT, GO.
    private const int HandshakeLength = 18 + 20 + (39 + 20) + (32 + 34 + 20);

    private const int StatusLength = NbdChunkHeader.Size + 20;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task SoundConversation_IsUnderstood()
    {
        var (content, status) = await TalkAsync(Conversation(), patience: TimeSpan.FromSeconds(10));
        Assert.All(content, value => Assert.Equal(0x5a, value));
        Assert.Equal([new(new ByteRange(0, 4096), 3), new(new ByteRange(4096, 4096), 0)], Assert.Single(status).Extents);
    }

    [Fact]
    public async Task MutatedConversations_EndInASoundAnswerOrAnNbdException()
    {
        var seed = Seed.Choose(53);
        var random = new Random(seed);
        var refused = 0;
        for (var round = 0; round < 200; round++)
        {
            var bytes = Conversation().ToList();
            for (var changes = random.Next(1, 4); changes > 0; changes--)
            {
                // Mostly in the headers: the payload of the read is the long tail.
                var head = Math.Min(bytes.Count, HandshakeLength + StatusLength + NbdChunkHeader.Size + 8);
                var at = random.Next(random.Next(4) == 0 ? bytes.Count : head);
                switch (random.Next(5))
                {
                    case 0: bytes.RemoveAt(at); break;
                    case 1: bytes.Insert(at, (byte)random.Next(256)); break;
                    case 2: bytes.RemoveRange(at, bytes.Count - at); break;
                    default: bytes[at] = (byte)(random.Next(2) == 0 ? 0xff : bytes[at] ^ (1 << random.Next(8))); break;
                }

                if (bytes.Count == 0)
                    break;
            }

            try
            {
                var (_, status) = await TalkAsync([.. bytes], TimeSpan.FromMilliseconds(30)).WaitAsync(TimeSpan.FromSeconds(10), Token);
                Assert.All(status, answer => Assert.True(answer.Extents.Count > 0 && answer.End <= 8192, $"seed {seed}, round {round}"));
            }
            catch (NbdException)
            {
                refused++;
            }
            catch (ArgumentOutOfRangeException e) when (e.ParamName is "offset" or "length")
            {
                refused++; // The mutation made the export smaller, or its blocks larger, than what is read here.
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"seed {seed}, round {round}: {e}");
            }
        }

        Assert.InRange(refused, 50, 200);
    }

    // All the server's bytes in one go; the cookies of the first two requests are known.
    private static byte[] Conversation() =>
    [
        .. ScriptedServer.Hex("4e42444d41474943 49484156454f5054 0003"),
        .. ScriptedServer.Hex("0003e889045565a9 00000008 00000001 00000000"),
        .. ScriptedServer.Hex("0003e889045565a9 0000000a 00000004 00000013 00000007"), .. "base:allocation"u8,
        .. ScriptedServer.Hex("0003e889045565a9 0000000a 00000001 00000000"),
        .. ScriptedServer.Hex("0003e889045565a9 00000007 00000003 0000000c 0000 0000000000100000 0d6d"),
        .. ScriptedServer.Hex("0003e889045565a9 00000007 00000003 0000000e 0003 00000001 00001000 00100000"),
        .. ScriptedServer.Hex("0003e889045565a9 00000007 00000001 00000000"),
        .. ScriptedServer.Chunk(NbdChunkType.BlockStatus, true, 1 << 16, ScriptedServer.Bytes(7u, 4096u, 3u, 4096u, 0u)),
        .. ScriptedServer.Chunk(
            NbdChunkType.OffsetData, false, 2 << 16, [.. ScriptedServer.Bytes(0UL), .. Enumerable.Repeat((byte)0x5a, 2048)]),
        .. ScriptedServer.Chunk(
            NbdChunkType.OffsetData, true, 2 << 16, [.. ScriptedServer.Bytes(2048UL), .. Enumerable.Repeat((byte)0x5a, 2048)]),
    ];

    private static async Task<(byte[] Content, IReadOnlyList<NbdContextStatus> Status)> TalkAsync(
        byte[] conversation, TimeSpan patience)
    {
        // A reply waits for its request, or for the end of the server's patience: it then hangs up.
        await using var server = new ScriptedServer(async peer =>
        {
            var handshake = Math.Min(conversation.Length, HandshakeLength);
            await peer.SendAsync(conversation[..handshake]);
            try
            {
                // Flags, and the three options with their data.
                await peer.ReceiveAsync(4 + 16 + 16 + 4 + 4 + 4 + 4 + 15 + 16 + 4 + 4 + 2 + 6).WaitAsync(patience, Token);
                await peer.ReceiveRequestAsync().WaitAsync(patience, Token);
                var status = Math.Min(conversation.Length, handshake + StatusLength);
                await peer.SendAsync(conversation[handshake..status]);
                await peer.ReceiveRequestAsync().WaitAsync(patience, Token);
                await peer.SendAsync(conversation[status..]);
            }
            catch (Exception e) when (e is EndOfStreamException or System.Net.Sockets.SocketException
                or NbdProtocolException or TimeoutException)
            {
                // The client has seen enough.
            }
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, NbdClientOptions.Default with { Depth = 1 }, Token);
        var status = await connection.BlockStatusAsync(new ByteRange(0, 8192), false, Token);
        var content = new byte[4096];
        await connection.ReadAsync(0, content, Token);
        return (content, status);
    }
}
