// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd.Tests;

/// <summary>Layouts of doc/proto.md of the NBD project, byte by byte.</summary>
public sealed class WireTests
{
    // "Request message"
    [Theory]
    [InlineData("25609513 0000 0000 0102030405060708 0000000000010000 00001000", 0, 0, 0x0102030405060708, 65536, 4096)]
    [InlineData("25609513 0001 0001 0000000000000001 00000000ffffffff ffffffff", 1, 1, 1, 0xffffffff, 0xffffffff)]
    [InlineData("25609513 0000 0002 0000000000000000 0000000000000000 00000000", 0, 2, 0, 0, 0)]
    [InlineData("25609513 0012 0006 0000000000000002 0000000000000200 00000200", 18, 6, 2, 512, 512)]
    [InlineData("25609513 0008 0007 0000000000000003 7fffffffffffffff 00000001", 8, 7, 3, long.MaxValue, 1)]
    public void Request_HasTheLayoutOfTheSpec(
        string hex, ushort flags, ushort command, ulong cookie, ulong offset, uint length)
    {
        var header = new NbdRequestHeader((NbdCommandFlags)flags, (NbdCommand)command, cookie, offset, length);
        var bytes = new byte[NbdRequestHeader.Size];
        header.Write(bytes);
        Assert.Equal(ScriptedServer.Hex(hex), bytes);
        Assert.Equal(header, NbdRequestHeader.Read(bytes));
    }

    // "Simple reply message"
    [Theory]
    [InlineData("67446698 00000000 0102030405060708", NbdError.None, 0x0102030405060708)]
    [InlineData("67446698 0000001c ffffffffffffffff", NbdError.NoSpace, ulong.MaxValue)]
    public void SimpleReply_HasTheLayoutOfTheSpec(string hex, NbdError error, ulong cookie)
    {
        var bytes = new byte[NbdSimpleReply.Size];
        new NbdSimpleReply(error, cookie).Write(bytes);
        Assert.Equal(ScriptedServer.Hex(hex), bytes);
        Assert.Equal(new NbdSimpleReply(error, cookie), NbdSimpleReply.Read(bytes));
    }

    // "Structured reply chunk message"
    [Theory]
    [InlineData("668e33ef 0001 0000 0000000000000009 00000000", NbdChunkFlags.Done, NbdChunkType.None, 9, 0, false)]
    [InlineData("668e33ef 0000 0001 0000000000000009 00001008", NbdChunkFlags.None, NbdChunkType.OffsetData, 9, 4104, false)]
    [InlineData("668e33ef 0001 8002 0000000000000009 0000000e", NbdChunkFlags.Done, NbdChunkType.ErrorOffset, 9, 14, true)]
    public void Chunk_HasTheLayoutOfTheSpec(string hex, NbdChunkFlags flags, NbdChunkType type, ulong cookie, uint length, bool isError)
    {
        var header = new NbdChunkHeader(flags, type, cookie, length);
        var bytes = new byte[NbdChunkHeader.Size];
        header.Write(bytes);
        Assert.Equal(ScriptedServer.Hex(hex), bytes);
        Assert.Equal(header, NbdChunkHeader.Read(bytes));
        Assert.Equal((flags == NbdChunkFlags.Done, isError), (header.IsDone, header.IsError));
    }

    // "Newstyle negotiation", "Fixed newstyle negotiation"
    [Fact]
    public void OptionAndItsReply_HaveTheLayoutOfTheSpec()
    {
        var option = new byte[NbdOptionHeader.Size];
        new NbdOptionHeader(NbdOption.Go, 0x12).Write(option);
        Assert.Equal(ScriptedServer.Hex("49484156454f5054 00000007 00000012"), option);

        var reply = NbdOptionReplyHeader.Read(ScriptedServer.Hex("0003e889045565a9 00000003 80000006 00000005"));
        Assert.Equal(new NbdOptionReplyHeader(NbdOption.List, NbdOptionReply.ErrorUnknown, 5), reply);
        Assert.True(reply.IsError);
    }

    [Fact]
    public void WrongMagic_IsNamed()
    {
        var request = Assert.Throws<NbdProtocolException>(() => NbdRequestHeader.Read(new byte[NbdRequestHeader.Size]));
        Assert.Equal("Client sent a request with magic '00000000'; '25609513' is required.", request.Message);
        var reply = Assert.Throws<NbdProtocolException>(() => NbdOptionReplyHeader.Read(new byte[NbdOptionReplyHeader.Size]));
        Assert.Equal("Server sent an option reply with magic '0000000000000000'; '0003e889045565a9' is required.", reply.Message);
    }
}
