// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Nbd.Tests;

/// <summary>Calls that end before their replies: cancelled, out of time, or with their connection.</summary>
public sealed class CancellationTests
{
    private static readonly NbdClientOptions _options = NbdClientOptions.Default;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(0)] // nothing of the reply has come
    [InlineData(10)] // within its header
    [InlineData(20 + 8)] // header and offset
    [InlineData(20 + 8 + 100_000)] // in the middle of a receive into the caller's buffer
    [InlineData(20 + 8 + 999_999)] // one byte is missing
    public async Task CancelledRead_EndsAtOnceAndItsReplyGoesNowhere(int sentBefore)
    {
        const int Length = 1_000_000;
        var goOn = new TaskCompletionSource();
        var isSent = new TaskCompletionSource();
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            var cancelled = await peer.ReceiveRequestAsync();
            var reply = ScriptedServer.Chunk(NbdChunkType.OffsetData, true, cancelled.Cookie, [.. new byte[8], .. Filled(Length, 0xaa)]);
            await peer.SendAsync(reply[..sentBefore]);
            isSent.SetResult();
            await goOn.Task;
            await peer.SendAsync(reply[sentBefore..]);
            var next = await peer.ReceiveRequestAsync();
            await peer.SendAsync(ScriptedServer.Chunk(NbdChunkType.OffsetData, true, next.Cookie, [.. new byte[8], .. Filled(512, 0xbb)]));
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        using var cancel = new CancellationTokenSource();
        var buffer = new byte[Length];
        var read = connection.ReadAsync(0, buffer, cancel.Token).AsTask();
        await isSent.Task.WaitAsync(Token);
        await Task.Delay(50, Token);
        await cancel.CancelAsync();
        var failure = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read.WaitAsync(TimeSpan.FromSeconds(5), Token));
        Assert.Equal(cancel.Token, failure.CancellationToken);

        // The buffer is the caller's again: what still comes must not show up in it.
        Array.Fill(buffer, (byte)0x55);
        goOn.SetResult();
        var next = new byte[512];
        await connection.ReadAsync(0, next, Token);
        Assert.Equal(Filled(512, 0xbb), next);
        Assert.Equal(Filled(Length, 0x55), buffer);
        Assert.Equal(0, connection.InFlight);
    }

    [Fact]
    public async Task ManyRandomCancellations_NeverMixUpReplies()
    {
        const int Seed = 31;
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync(isStructured: false);
            while (await peer.ReceiveRequestAsync() is { Command: NbdCommand.Read } request)
            {
                var data = Filled((int)request.Length, (byte)(request.Offset >> 12));
                await peer.SendAsync(ScriptedServer.Simple(NbdError.None, request.Cookie), data);
            }
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options with { Depth = 8 }, Token);
        var cancelled = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async worker =>
        {
            var random = new Random(Seed + worker);
            for (var round = 0; round < 200; round++)
            {
                var offset = random.Next(200) << 12;
                var buffer = new byte[random.Next(1, 200_000)];
                using var cancel = new CancellationTokenSource();
                var read = connection.ReadAsync(offset, buffer, cancel.Token).AsTask();
                if (random.Next(3) == 0)
                {
                    for (var spin = random.Next(2000); spin > 0; spin--)
                        Thread.SpinWait(10);
                    await cancel.CancelAsync();
                }

                try
                {
                    await read;
                    Assert.True(buffer.AsSpan().IndexOfAnyExcept((byte)(offset >> 12)) < 0, $"seed {Seed}, worker {worker}, round {round}");
                }
                catch (OperationCanceledException)
                {
                    Interlocked.Increment(ref cancelled);
                    buffer.AsSpan().Fill(0xff);
                    await Task.Yield();
                    Assert.True(buffer.AsSpan().IndexOfAnyExcept((byte)0xff) < 0, $"seed {Seed}, worker {worker}, round {round}");
                }
            }
        }));
        Assert.True(cancelled > 0, "No call was cancelled.");
    }

    [Fact]
    public async Task CancelledWrite_IsSentWholeBeforeItsCallEnds()
    {
        const int Length = 1 << 20;
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            var write = await peer.ReceiveRequestAsync();
            await Task.Delay(400, Token); // longer than the client's own waits
            Assert.Equal(Filled(Length, 0x77), await peer.ReceiveAsync(Length));
            var next = await peer.ReceiveRequestAsync();
            Assert.Equal(NbdCommand.Flush, next.Command);
            await peer.SendAsync(ScriptedServer.Simple(NbdError.None, write.Cookie), ScriptedServer.Simple(NbdError.None, next.Cookie));
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        using var cancel = new CancellationTokenSource(20);
        var buffer = Filled(Length, 0x77);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connection.WriteAsync(0, buffer, false, cancel.Token).AsTask());
        Array.Clear(buffer);
        await connection.FlushAsync(Token);
    }

    [Fact]
    public async Task CallThatWaitsForItsTurn_IsCancelledWithoutBeingSent()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync(isStructured: false);
            var first = await peer.ReceiveRequestAsync();
            await Task.Delay(100, Token);
            Assert.Equal(0, peer.Peer.Available);
            await peer.SendAsync(ScriptedServer.Simple(NbdError.None, first.Cookie), new byte[512]);
            var next = await peer.ReceiveRequestAsync();
            Assert.Equal(NbdCommand.Flush, next.Command);
            await peer.SendAsync(ScriptedServer.Simple(NbdError.None, next.Cookie));
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options with { Depth = 1 }, Token);
        var first = connection.ReadAsync(0, new byte[512], Token);
        using var cancel = new CancellationTokenSource(20);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connection.ReadAsync(512, new byte[512], cancel.Token).AsTask());
        await first;
        await connection.FlushAsync(Token);
    }

    [Fact]
    public async Task StalledServer_IsGivenUpAtTheTimeLimit()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(
            server.Uri, _options with { RequestTimeout = TimeSpan.FromMilliseconds(200) }, Token);
        await Task.Delay(500, Token); // Idle is not stalled.
        var failure = await Assert.ThrowsAsync<NbdConnectionClosedException>(
            () => connection.ReadAsync(0, new byte[512], Token).AsTask().WaitAsync(TimeSpan.FromSeconds(5), Token));
        Assert.Equal($"'{server.Uri}' moved no byte for 0.2 s with requests in flight.", failure.Message);
    }

    [Fact]
    public async Task ServerThatStopsTakingAWrite_IsGivenUpAtTheTimeLimit()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            await peer.ReceiveRequestAsync();
            await Task.Delay(1000, Token);
        });
        await using var connection = await NbdClient.ConnectAsync(
            server.Uri, _options with { RequestTimeout = TimeSpan.FromMilliseconds(200) }, Token);
        await Assert.ThrowsAsync<NbdConnectionClosedException>(
            () => connection.WriteAsync(0, new byte[1 << 20], false, Token).AsTask().WaitAsync(TimeSpan.FromSeconds(5), Token));
    }

    [Fact]
    public async Task SlowServer_IsWaitedForWhileBytesMove()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync(isStructured: false);
            var request = await peer.ReceiveRequestAsync();
            await peer.SendAsync(ScriptedServer.Simple(NbdError.None, request.Cookie));
            for (var i = 0; i < 16; i++)
            {
                await Task.Delay(50, Token);
                await peer.SendAsync(new byte[32]);
            }

            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(
            server.Uri, _options with { RequestTimeout = TimeSpan.FromMilliseconds(400) }, Token);
        await connection.ReadAsync(0, new byte[512], Token);
    }

    [Fact]
    public async Task Dispose_SaysGoodbyeAndFailsWhatIsInFlight()
    {
        var last = new TaskCompletionSource<NbdCommand>();
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.ShakeHandsAsync();
            await peer.ReceiveRequestAsync();
            last.SetResult((await peer.ReceiveRequestAsync()).Command);
            await peer.WaitForEndAsync();
        });
        var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        var read = connection.ReadAsync(0, new byte[512], Token).AsTask();
        await connection.DisposeAsync();
        await connection.DisposeAsync();
        var failure = await Assert.ThrowsAsync<NbdConnectionClosedException>(() => read);
        Assert.Equal($"Connection to '{server.Uri}' was closed by its owner.", failure.Message);
        Assert.Equal(NbdCommand.Disconnect, await last.Task.WaitAsync(TimeSpan.FromSeconds(2), Token));
        await Assert.ThrowsAsync<NbdConnectionClosedException>(
            () => connection.BlockStatusAsync(new ByteRange(0, 1), false, Token).AsTask());
    }

    private static byte[] Filled(int length, byte value)
    {
        var bytes = new byte[length];
        Array.Fill(bytes, value);
        return bytes;
    }
}
