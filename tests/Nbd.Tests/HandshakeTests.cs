// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Nbd.Tests;

/// <summary>The handshake against a scripted server: what is sound, and every way to lie.</summary>
public sealed class HandshakeTests
{
    private static readonly NbdClientOptions _options = NbdClientOptions.Default;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Steps_ComeInOrderAndEndInGo()
    {
        var options = new List<NbdOption>();
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            while (true)
            {
                var (option, data) = await peer.ReceiveOptionAsync();
                options.Add(option);
                if (option == NbdOption.SetMetaContext)
                {
                    Assert.Equal(ScriptedServer.Hex("00000004 6469736b 00000002 00000003 613a62 0000000f") , data[..^15]);
                    await peer.ReplyAsync(option, NbdOptionReply.MetaContext, [0, 0, 0, 9, .. "base:allocation"u8]);
                }

                if (option == NbdOption.Go)
                {
                    Assert.Equal(ScriptedServer.Hex("00000004 6469736b 0003 0001 0002 0003"), data);
                    await peer.ReplyAsync(option, NbdOptionReply.Info, ScriptedServer.Hex("0000 0000000000001000 0103"));
                    await peer.ReplyAsync(option, NbdOptionReply.Info, [0, 1, .. "own name"u8]);
                    await peer.ReplyAsync(option, NbdOptionReply.Info, [0, 2, .. Encoding.UTF8.GetBytes("dïsk")]);
                    await peer.ReplyAsync(option, NbdOptionReply.Info, ScriptedServer.Hex("0003 00000200 00001000 00100000"));
                    await peer.ReplyAsync(option, NbdOptionReply.Info, ScriptedServer.Hex("7777 010203"));
                }

                await peer.ReplyAsync(option, NbdOptionReply.Ack);
                if (option == NbdOption.Go)
                    break;
            }

            Assert.Equal(NbdCommand.Disconnect, (await peer.ReceiveRequestAsync()).Command);
        });
        var contexts = _options with { Contexts = ["a:b", NbdMetaContext.BaseAllocation] };
        await using (var connection = await NbdClient.ConnectAsync(server.Uri, contexts, Token))
        {
            var export = connection.Export;
            Assert.Equal(("disk", "own name", "dïsk", 4096L), (export.Name, export.CanonicalName, export.Description, export.Size));
            Assert.Equal(new NbdBlockSizes(512, 4096, 1 << 20), export.BlockSizes);
            Assert.True(export.IsReadOnly && export.CanMultiConnection && export.HasStructuredReplies);
            Assert.Equal([NbdMetaContext.BaseAllocation], export.Contexts);
        }

        Assert.Equal([NbdOption.StructuredReply, NbdOption.SetMetaContext, NbdOption.Go], options);
    }

    [Theory]
    [InlineData("0003", 10)] // NBD_FLAG_NO_ZEROES
    [InlineData("0001", 134)]
    public async Task ServerWithoutGo_IsAskedByExportName(string flags, int replyLength)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.SendAsync("4e42444d41474943 49484156454f5054" + flags);
            Assert.Equal(ScriptedServer.Hex("0000" + flags), await peer.ReceiveAsync(4));
            while (true)
            {
                var (option, data) = await peer.ReceiveOptionAsync();
                if (option == NbdOption.ExportName)
                {
                    Assert.Equal("disk"u8.ToArray(), data);
                    break;
                }

                await peer.ReplyAsync(option, NbdOptionReply.ErrorUnsupported);
            }

            var reply = new byte[replyLength];
            ScriptedServer.Hex("0000000000010000 0001").CopyTo(reply, 0);
            await peer.SendAsync(reply);
            var request = await peer.ReceiveRequestAsync();
            await peer.SendAsync(ScriptedServer.Simple(NbdError.None, request.Cookie), new byte[512]);
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options, Token);
        Assert.Equal((65536L, false), (connection.Export.Size, connection.Export.HasStructuredReplies));
        await connection.ReadAsync(0, new byte[512], Token);
    }

    [Fact]
    public async Task Wildcard_IsListedAndThenSet()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.ReplyAsync(NbdOption.StructuredReply, NbdOptionReply.Ack);
            var (list, query) = await peer.ReceiveOptionAsync();
            Assert.Equal(NbdOption.ListMetaContext, list);
            Assert.EndsWith("qemu:dirty-bitmap:", Encoding.UTF8.GetString(query), StringComparison.Ordinal);
            await peer.ReplyAsync(list, NbdOptionReply.MetaContext, [0, 0, 0, 0, .. "qemu:dirty-bitmap:x y"u8]);
            await peer.ReplyAsync(list, NbdOptionReply.Ack);
            var (set, names) = await peer.ReceiveOptionAsync();
            Assert.EndsWith("qemu:dirty-bitmap:x y", Encoding.UTF8.GetString(names), StringComparison.Ordinal);
            await peer.ReplyAsync(set, NbdOptionReply.MetaContext, [0, 0, 0, 3, .. "qemu:dirty-bitmap:x y"u8]);
            await peer.ReplyAsync(set, NbdOptionReply.Ack);
            var (go, _) = await peer.ReceiveOptionAsync();
            await peer.ReplyAsync(go, NbdOptionReply.Info, ScriptedServer.Hex("0000 0000000000001000 0103"));
            await peer.ReplyAsync(go, NbdOptionReply.Ack);
            await peer.WaitForEndAsync();
        });
        await using var connection = await NbdClient.ConnectAsync(server.Uri, _options with { Contexts = ["qemu:dirty-bitmap:*"] }, Token);
        Assert.Equal(["qemu:dirty-bitmap:x y"], connection.Export.Contexts);
    }

    [Theory]
    [InlineData("485454502f312e31 20343030204e6f74", "so it is no NBD server")]
    [InlineData("4e42444d41474943 0000420281861253", "oldstyle")]
    [InlineData("4e42444d41474943 49484156454f5055", "unknown style '49484156454f5055'")]
    [InlineData("4e42444d41474943 49484156454f5054 0002", "unfixed newstyle")]
    public async Task GreetingThatIsNotFixedNewstyle_IsRefused(string greeting, string reason)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.SendAsync(greeting);
            await peer.WaitForEndAsync();
        });
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(() => NbdClient.ConnectAsync(server.Uri, _options, Token));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0003e889045565aa 00000008 00000001 00000000", "magic '0003e889045565aa'")]
    [InlineData("0003e889045565a9 00000007 00000001 00000000", "option 'Go'; a reply to 'StructuredReply' is due")]
    [InlineData("0003e889045565a9 00000008 00000002 00000000", "type 'Server'; 'Ack' is due")]
    [InlineData("0003e889045565a9 00000008 00000001 7fffffff", "with 2147483647 bytes")]
    [InlineData("0003e889045565a9 00000008 00000001 ffffffff", "with 4294967295 bytes")]
    public async Task LieInAReplyHeader_IsAProtocolError(string reply, string reason)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.SendAsync(reply);
            await peer.WaitForEndAsync();
        });
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(() => NbdClient.ConnectAsync(server.Uri, _options, Token));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(NbdOptionReply.Info, "00", "with 1 bytes; at least 2 are required")]
    [InlineData(NbdOptionReply.Info, "0000 00000000000010 0103", "NBD_INFO_EXPORT of 11 bytes; 12 are required")]
    [InlineData(NbdOptionReply.Info, "0000 0000000000001000 0103 00", "NBD_INFO_EXPORT of 13 bytes; 12 are required")]
    [InlineData(NbdOptionReply.Info, "0000 8000000000000000 0103", "an export of 9223372036854775808 bytes")]
    [InlineData(NbdOptionReply.Info, "0003 00000200 00001000 001000", "NBD_INFO_BLOCK_SIZE of 13 bytes; 14 are required")]
    [InlineData(NbdOptionReply.Info, "0003 00000000 00001000 00100000", "block sizes minimum 0")]
    [InlineData(NbdOptionReply.Info, "0003 00000300 00001000 00100000", "block sizes minimum 768")]
    [InlineData(NbdOptionReply.Info, "0003 00020000 00020000 00100000", "block sizes minimum 131072")]
    [InlineData(NbdOptionReply.Info, "0003 00001000 00001000 00000200", "maximum 512")]
    [InlineData(NbdOptionReply.Info, "0001 ff", "an export name that is not UTF-8")]
    [InlineData(NbdOptionReply.Server, "00000000", "type 'Server'; 'Info' is due")]
    [InlineData(NbdOptionReply.Ack, "00", "acknowledged option 'Go' with 1 bytes")]
    [InlineData(NbdOptionReply.Ack, "", "without naming its size")]
    public async Task LieInAReplyToGo_IsAProtocolError(NbdOptionReply type, string data, string reason)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.ReplyAsync(NbdOption.Go, type, ScriptedServer.Hex(data));
            await peer.WaitForEndAsync();
        });
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(
            () => NbdClient.ConnectAsync(server.Uri, _options with { StructuredReplies = false }, Token));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("00000001 613a62|00000001 613a63", "two meta contexts the same id")]
    [InlineData("000000", "with 3 bytes; at least 4 are required")]
    [InlineData("00000001 ff", "a meta context name that is not UTF-8")]
    public async Task LieAboutContexts_IsAProtocolError(string replies, string reason)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.ReplyAsync(NbdOption.StructuredReply, NbdOptionReply.Ack);
            await peer.ReceiveOptionAsync();
            foreach (var data in replies.Split('|'))
                await peer.ReplyAsync(NbdOption.SetMetaContext, NbdOptionReply.MetaContext, ScriptedServer.Hex(data));
            await peer.ReplyAsync(NbdOption.SetMetaContext, NbdOptionReply.Ack);
            await peer.WaitForEndAsync();
        });
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(() => NbdClient.ConnectAsync(server.Uri, _options, Token));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("000000", "with 3 bytes; at least 4 are required")]
    [InlineData("00000005 61626364", "a name of 5 bytes in a reply of 8 bytes")]
    [InlineData("ffffffff 61626364", "a name of 4294967295 bytes")]
    public async Task LieInAListOfExports_IsAProtocolError(string entry, string reason)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.ReplyAsync(NbdOption.List, NbdOptionReply.Server, ScriptedServer.Hex(entry));
            await peer.WaitForEndAsync();
        });
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(() => NbdClient.ListAsync(server.Uri, _options, Token));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EndOfTheStreamAfterAnyByte_IsAClosedConnection()
    {
        // Greeting, then a whole reply to GO, cut after every byte.
        var greeting = ScriptedServer.Hex("4e42444d41474943 49484156454f5054 0003");
        byte[] replies =
        [
            .. ScriptedServer.Hex("0003e889045565a9 00000007 00000003 0000000c 0000 0000000000001000 0103"),
            .. ScriptedServer.Hex("0003e889045565a9 00000007 00000001 00000000"),
        ];
        for (var length = 0; length < greeting.Length + replies.Length; length++)
        {
            await using var server = new ScriptedServer(async peer =>
            {
                await peer.SendAsync(greeting[..Math.Min(length, greeting.Length)]);
                if (length < greeting.Length)
                    return;
                await peer.ReceiveAsync(4);
                await peer.ReceiveOptionAsync();
                await peer.SendAsync(replies[..(length - greeting.Length)]);
            });
            var failure = await Assert.ThrowsAsync<NbdConnectionClosedException>(
                () => NbdClient.ConnectAsync(server.Uri, _options with { StructuredReplies = false }, Token));
            Assert.True(
                failure.Message.StartsWith("Server closed the connection", StringComparison.Ordinal), $"{length}: {failure.Message}");
        }
    }

    [Theory]
    [InlineData(NbdOptionReply.ErrorPolicy, "not you", "Server refused export 'disk': its policy forbids it, and said 'not you'.")]
    [InlineData(NbdOptionReply.ErrorTlsRequired, "", "Server refused export 'disk': TLS is required.")]
    [InlineData((NbdOptionReply)0x800000ff, "", "Server refused export 'disk': error 255.")]
    public async Task Refusal_CarriesTheServersWords(NbdOptionReply reply, string text, string message)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.ReplyAsync(NbdOption.Go, reply, Encoding.UTF8.GetBytes(text));
            await peer.WaitForEndAsync();
        });
        var failure = await Assert.ThrowsAsync<NbdNegotiationException>(
            () => NbdClient.ConnectAsync(server.Uri, _options with { StructuredReplies = false }, Token));
        Assert.Equal((NbdOption.Go, reply, message), (failure.Option, failure.Reply, failure.Message));
    }

    [Fact]
    public async Task SilentServer_IsLeftAtTheTimeLimitAndTheSocketClosed()
    {
        var isClosed = new TaskCompletionSource();
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            await peer.WaitForEndAsync();
            isClosed.SetResult();
        });
        var failure = await Assert.ThrowsAsync<NbdConnectionClosedException>(
            () => NbdClient.ConnectAsync(server.Uri, _options with { HandshakeTimeout = TimeSpan.FromMilliseconds(200) }, Token));
        Assert.Equal($"'{server.Uri}' did not answer within 0.2 s.", failure.Message);
        await isClosed.Task.WaitAsync(TimeSpan.FromSeconds(2), Token);
    }

    [Fact]
    public async Task CancelledHandshake_ClosesTheSocketAtOnce()
    {
        var isClosed = new TaskCompletionSource();
        using var cancel = new CancellationTokenSource();
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await cancel.CancelAsync();
            await peer.WaitForEndAsync();
            isClosed.SetResult();
        });
        var failure = await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => NbdClient.ConnectAsync(server.Uri, _options, cancel.Token));
        Assert.Equal(cancel.Token, failure.CancellationToken);
        await isClosed.Task.WaitAsync(TimeSpan.FromSeconds(2), Token);
    }

    [Fact]
    public async Task ServerWithEndlessReplies_IsRefused()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.GreetAsync();
            await peer.ReceiveOptionAsync();
            var many = Enumerable.Repeat(
                ScriptedServer.Hex("0003e889045565a9 00000003 00000002 00000004 00000000"), 1000).SelectMany(x => x).ToArray();
            try
            {
                for (var i = 0; i < 100; i++)
                    await peer.SendAsync(many);
            }
            catch (System.Net.Sockets.SocketException)
            {
                return; // The client has hung up, as it should.
            }

            Assert.Fail("The client took 100 000 replies.");
        });
        var failure = await Assert.ThrowsAsync<NbdProtocolException>(() => NbdClient.ListAsync(server.Uri, _options, Token));
        Assert.Equal("Server sent more than 65536 replies to option 'List'.", failure.Message);
    }
}
