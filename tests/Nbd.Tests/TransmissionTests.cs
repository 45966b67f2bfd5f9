// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Tidemark.Blocks;

namespace Tidemark.Nbd.Tests;

/// <summary>Replies of a scripted server: sound ones in unusual order, and every way to lie.</summary>
public sealed class TransmissionTests
{
    private const uint Context = ScriptedServer.ContextId;
    private static readonly NbdClientOptions _options = NbdClientOptions.Default;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ChunksInAnyOrderWithHoles_FillTheBufferExactly()
    {
        await using var server = Answering(cookie =>
        [
            ScriptedServer.Chunk(NbdChunkType.OffsetData, false, cookie, [.. Number(4096 + 1000), .. Enumerable.Repeat((byte)3, 24)]),
            ScriptedServer.Chunk(NbdChunkType.OffsetHole, false, cookie, ScriptedServer.Bytes(4096UL + 100, 900u)),
            ScriptedServer.Chunk(NbdChunkType.OffsetData, false, cookie, [.. Number(4096), .. Enumerable.Repeat((byte)1, 100)]),
            ScriptedServer.Chunk(NbdChunkType.None, true, cookie),
        ]);
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var buffer = new byte[1024];
        Array.Fill(buffer, (byte)0xee);
        await connection.ReadAsync(4096, buffer, Token);
        byte[] expected = [.. Enumerable.Repeat((byte)1, 100), .. new byte[900], .. Enumerable.Repeat((byte)3, 24)];
        Assert.Equal(expected, buffer);
    }

    [Fact]
    public async Task RepliesInReverseOrder_ReachTheirCallers()
    {
        const int Count = 8;
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync(isStructured: false);
            var requests = new List<NbdRequestHeader>();
            for (var i = 0; i < Count; i++)
                requests.Add(await peer.ReceiveRequestAsync());
            requests.Reverse();
            foreach (var request in requests)
                await peer.SendAsync(
                    ScriptedServer.Simple(NbdError.None, request.Cookie), [.. Enumerable.Repeat((byte)(request.Offset / 512), 512)]);
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var buffers = Enumerable.Range(0, Count).Select(_ => new byte[512]).ToArray();
        await Task.WhenAll(buffers.Select((buffer, i) => connection.ReadAsync(i * 512, buffer, Token).AsTask()));
        for (var i = 0; i < Count; i++)
            Assert.All(buffers[i], value => Assert.Equal(i, value));
    }

    [Fact]
    public async Task RequestsInFlight_AreNeverMoreThanTheDepth()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync(isStructured: false);
            for (var round = 0; round < 5; round++)
            {
                var requests = new[] { await peer.ReceiveRequestAsync(), await peer.ReceiveRequestAsync() };
                await Task.Delay(20, Token);
                Assert.Equal(0, peer.Peer.Available);
                foreach (var request in requests)
                    await peer.SendAsync(ScriptedServer.Simple(NbdError.None, request.Cookie), new byte[512]);
            }

            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options with { Depth = 2 }, Token);
        await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => connection.ReadAsync(0, new byte[512], Token).AsTask()));
        Assert.Equal(0, connection.InFlight);
    }

    public static TheoryData<string, string> Lies => new()
    {
        { "12345678 00000000 C", "magic '12345678'" },
        { "67446698 00000000 C", "a simple reply to 'Read'; a structured one is required" },
        { "668e33ef 0001 0000 ffffffffffffffff 00000000", "cookie 'ffffffffffffffff', which no request in flight has" },
        { "67446698 00000005 0000000000000000", "cookie '0000000000000000', which no request in flight has" },
        { "668e33ef 0001 0000 C 00000000", "after 0 bytes" },
        { "668e33ef 0000 0000 C 00000000", "type 'None' with 0 bytes" },
        { "668e33ef 0001 0000 C 00000001 00", "type 'None' with 1 bytes" },
        { "668e33ef 0001 0001 C 00000008 0000000000001000", "type 'OffsetData' with 8 bytes" },
        { "668e33ef 0001 0001 C 00000408 0000000000001001", "1024 bytes for offset 4097" },
        { "668e33ef 0001 0001 C 00000009 0000000000000fff 00", "1 bytes for offset 4095" },
        { "668e33ef 0001 0001 C 00000009 0000000000001400 00", "1 bytes for offset 5120" },
        { "668e33ef 0001 0001 C 00000009 ffffffffffffffff 00", "1 bytes for offset 18446744073709551615" },
        { "668e33ef 0001 0001 C ffffffff 0000000000001000", "4294967287 bytes for offset 4096" },
        { "668e33ef 0001 0001 C 00000009 0000000000001000 00", "of 1024 bytes after 1 bytes" },
        { "668e33ef 0000 0001 C 00000009 0000000000001000 00 668e33ef 0001 0001 C 00000009 0000000000001000 00", "twice" },
        { "668e33ef 0001 0002 C 0000000c 0000000000001000 00000401", "1025 bytes for offset 4096" },
        { "668e33ef 0001 0002 C 0000000c 0000000000001000 00000000", "0 bytes for offset 4096" },
        { "668e33ef 0001 0002 C 0000000d 0000000000001000 00000001 00", "type 'OffsetHole' with 13 bytes" },
        { "668e33ef 0001 0005 C 0000000c 00000007 00000400 00000000", "type 'BlockStatus' with 12 bytes" },
        { "668e33ef 0001 0003 C 00000000", "type '3' with 0 bytes" },
        { "668e33ef 0001 8001 C 00000005 0000000500", "type 'Error' with 5 bytes" },
        { "668e33ef 0001 8001 C 00000006 00000000 0000", "type 'Error' with 6 bytes" },
        { "668e33ef 0001 8001 C 00000006 00000005 0001", "type 'Error' with 6 bytes" },
        { "668e33ef 0001 8001 C 7fffffff 00000005 0001", "type 'Error' with 2147483647 bytes" },
        { "668e33ef 0001 8002 C 0000000d 00000005 0000 00000000000000", "type 'ErrorOffset' with 13 bytes" },
    };

    [Theory]
    [MemberData(nameof(Lies))]
    public async Task LieInAReplyToARead_EndsTheConnectionWithOneReason(string reply, string reason)
    {
        await using var server = Answering(
            cookie => [ScriptedServer.Hex(reply.Replace("C", cookie.ToString("x16"), StringComparison.Ordinal))]);
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var first = connection.ReadAsync(4096, new byte[1024], Token).AsTask();
        var second = connection.ReadAsync(0, new byte[512], Token).AsTask();
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(() => first);
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
        Assert.Equal(failure.Message, (await Assert.ThrowsAsync<NbdProtocolException>(() => second)).Message);
        var later = await Assert.ThrowsAsync<NbdProtocolException>(() => connection.FlushAsync(Token).AsTask());
        Assert.Equal(failure.Message, later.Message);
    }

    [Theory]
    [InlineData("00000008 00000400 00000000", "context id 8, which was not negotiated")]
    [InlineData("00000007 00000000 00000000", "an empty extent at offset 4096")]
    [InlineData("00000007 00000400 00000000 00000400 00000000", "an extent at offset 5120; the request ends at 5120")]
    [InlineData("00000007 00100000 00000000", "ends at 1052672; the request ends at 5120, the export at 1048576")]
    [InlineData("00000007 ffffffff 00000000", "ends at 4294971391")]
    public async Task LieInABlockStatus_IsAProtocolError(string payload, string reason)
    {
        await using var server = Answering(
            cookie => [ScriptedServer.Chunk(NbdChunkType.BlockStatus, true, cookie, ScriptedServer.Hex(payload))]);
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(
            () => connection.BlockStatusAsync(new ByteRange(4096, 1024), false, Token).AsTask());
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(NbdChunkType.None, "", "Server left context 'base:allocation' out of a status reply.")]
    [InlineData(NbdChunkType.BlockStatus, "00000007", "against the rule")]
    [InlineData(NbdChunkType.BlockStatus, "00000007 00000200 00000000 00000000", "against the rule")]
    [InlineData(NbdChunkType.OffsetData, "0000000000001000 00", "against the rule")]
    public async Task BlockStatusOfAWrongShape_IsAProtocolError(NbdChunkType type, string payload, string reason)
    {
        await using var server = Answering(cookie => [ScriptedServer.Chunk(type, true, cookie, ScriptedServer.Hex(payload))]);
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(
            () => connection.BlockStatusAsync(new ByteRange(4096, 1024), false, Token).AsTask());
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task StatusTwiceOrTooManyExtents_IsAProtocolError()
    {
        var status = ScriptedServer.Bytes(Context, 512u, 0u);
        await using (var twice = Answering(cookie =>
            [ScriptedServer.Chunk(NbdChunkType.BlockStatus, false, cookie, status),
             ScriptedServer.Chunk(NbdChunkType.BlockStatus, true, cookie, status)]))
        {
            await using var connection = await NbdClient.ConnectAsync(twice.Uri, _options, Token);
            var failure = await Assert.ThrowsAsync<NbdProtocolException>(
                () => connection.BlockStatusAsync(new ByteRange(0, 1024), false, Token).AsTask());
            Assert.Contains("twice in one reply", failure.Message, StringComparison.Ordinal);
        }

        await using var server = Answering(cookie =>
            [ScriptedServer.Chunk(NbdChunkType.BlockStatus, true, cookie, ScriptedServer.Bytes(Context, 512u, 0u, 512u, 1u))]);
        await using var one = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var many = await Assert.ThrowsAsync<NbdProtocolException>(() => one.BlockStatusAsync(new ByteRange(0, 1024), true, Token).AsTask());
        Assert.Contains("2 extents; one was asked for", many.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LastExtentBeyondTheRequest_IsCut()
    {
        await using var server = Answering(cookie =>
            [ScriptedServer.Chunk(NbdChunkType.BlockStatus, true, cookie, ScriptedServer.Bytes(Context, 512u, 3u, 65536u, 0u))]);
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var status = Assert.Single(await connection.BlockStatusAsync(new ByteRange(0, 1024), false, Token));
        Assert.Equal([new(new ByteRange(0, 512), 3), new(new ByteRange(512, 512), 0)], status.Extents);
    }

    [Fact]
    public async Task PartialAnswers_AreContinuedToTheEnd()
    {
        // Each answer covers two blocks, whatever was asked: data, then a hole that is not known to be zero, then zero.
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            while (await peer.ReceiveRequestAsync() is { Command: NbdCommand.BlockStatus } request)
            {
                var first = (uint)(request.Offset / 4096 % 3);
                var length = Math.Min(8192u, request.Length);
                byte[] extents = ScriptedServer.Bytes(Context, Math.Min(4096u, length), first);
                if (length > 4096)
                    extents = [.. extents, .. ScriptedServer.Bytes(length - 4096, (first + 1) % 3)];
                await peer.SendAsync(ScriptedServer.Chunk(NbdChunkType.BlockStatus, true, request.Cookie, extents));
            }
        });
        await using var source = await NbdBlockSource.OpenAsync(server.Uri, _options with { Connections = 1 }, Token);
        var extents = await source.ExtentsAsync(new ByteRange(0, ScriptedServer.Size), Token).ToListAsync(Token);
        Assert.Equal(0, extents[0].Range.Offset);
        Assert.Equal(ScriptedServer.Size, extents[^1].Range.End);
        for (var i = 0; i < extents.Count; i++)
        {
            Assert.Equal(i % 2 == 0 ? ExtentKind.Data : ExtentKind.Zero, extents[i].Kind);
            Assert.Equal(i == 0 ? 0 : extents[i - 1].Range.End, extents[i].Range.Offset);
        }

        Assert.Equal((4096L, 8192L), (extents[1].Range.Length, extents[0].Range.Length));
    }

    [Theory]
    [InlineData(NbdChunkType.Error, "00000005 0003 626164", NbdError.InputOutput, "input/output error (EIO), and said 'bad'.")]
    [InlineData(NbdChunkType.ErrorOffset, "0000001c 0000 0000000000001000", NbdError.NoSpace, "no space left (ENOSPC).")]
    [InlineData((NbdChunkType)0x8777, "0000007b 0001 78 ffff", (NbdError)123, "error 123, and said 'x'.")]
    public async Task RefusedRequest_LeavesTheConnectionUsable(NbdChunkType type, string payload, NbdError error, string message)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            var refused = await peer.ReceiveRequestAsync();
            await peer.SendAsync(
                ScriptedServer.Chunk(NbdChunkType.OffsetHole, false, refused.Cookie, ScriptedServer.Bytes(4096UL, 512u)),
                ScriptedServer.Chunk(type, true, refused.Cookie, ScriptedServer.Hex(payload)));
            var next = await peer.ReceiveRequestAsync();
            await peer.SendAsync(ScriptedServer.Simple(NbdError.None, next.Cookie));
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var refusal = await Assert.ThrowsAsync<NbdRequestException>(() => connection.ReadAsync(4096, new byte[1024], Token).AsTask());
        Assert.Equal((error, $"Server refused 'Read' of 1024 bytes at offset 4096: {message}"), (refusal.Error, refusal.Message));
        await connection.FlushAsync(Token);
    }

    [Fact]
    public async Task ReplyCutAfterAnyByte_IsAProtocolErrorOrAClosedConnection()
    {
        for (var length = 0; ; length++)
        {
            var isWhole = false;
            await using var server = new ScriptedServer(async peer =>
            {
                await peer.ShakeHandsAsync();
                var request = await peer.ReceiveRequestAsync();
                byte[] reply =
                [
                    .. ScriptedServer.Chunk(NbdChunkType.OffsetHole, false, request.Cookie, ScriptedServer.Bytes(0UL, 32u)),
                    .. ScriptedServer.Chunk(NbdChunkType.OffsetData, true, request.Cookie, [.. Number(32), .. new byte[32]]),
                ];
                isWhole = length == reply.Length;
                await peer.SendAsync(reply[..length]);
            });
            await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
            var read = connection.ReadAsync(0, new byte[64], Token).AsTask();
            var failure = await Record.ExceptionAsync(() => read);
            if (isWhole)
            {
                Assert.Null(failure);
                return;
            }

            // Between two messages nothing is broken; within one it is.
            var isBetween = length is 0 or 32;
            Assert.True(isBetween ? failure is NbdConnectionClosedException : failure is NbdProtocolException, $"{length}: {failure}");
        }
    }

    [Fact]
    public async Task DuplicateReply_IsAProtocolError()
    {
        await using var server = Answering(
            cookie => [ScriptedServer.Simple(NbdError.InputOutput, cookie), ScriptedServer.Simple(NbdError.InputOutput, cookie)]);
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        await Assert.ThrowsAsync<NbdRequestException>(() => connection.FlushAsync(Token).AsTask());
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(async () =>
        {
            while (true)
                await connection.FlushAsync(Token).AsTask().WaitAsync(TimeSpan.FromSeconds(5), Token);
        });
        Assert.Contains("which no request in flight has", failure.Message, StringComparison.Ordinal);
    }

    /// <summary>Answers the first request, and then nothing.</summary>
    private static ScriptedServer Answering(Func<ulong, byte[][]> answer) => new(async peer =>
    {
        await peer.ShakeHandsAsync();
        await peer.SendAsync(answer((await peer.ReceiveRequestAsync()).Cookie));
        await peer.WaitForEndAsync();
    });

    private static byte[] Number(ulong number)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, number);
        return bytes;
    }
}
