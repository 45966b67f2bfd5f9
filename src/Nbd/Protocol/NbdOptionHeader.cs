// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Nbd;

/// <summary>
/// What a client sends before the data of an option (spec, "Newstyle negotiation"):
/// <c>0 magic u64 | 8 option u32 | 12 length u32</c>, big-endian.
/// </summary>
public readonly record struct NbdOptionHeader(NbdOption Option, uint Length)
{
    public const int Size = 8 + 4 + 4;

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt64BigEndian(target, NbdMagic.Option);
        BinaryPrimitives.WriteUInt32BigEndian(target[8..], (uint)Option);
        BinaryPrimitives.WriteUInt32BigEndian(target[12..], Length);
    }
}

/// <summary>
/// What a server sends before the data of a reply to an option (spec, "Fixed newstyle negotiation"):
/// <c>0 magic u64 | 8 option u32 | 12 reply type u32 | 16 length u32</c>, big-endian.
/// </summary>
public readonly record struct NbdOptionReplyHeader(NbdOption Option, NbdOptionReply Reply, uint Length)
{
    public const int Size = 8 + 4 + 4 + 4;

    public bool IsError => (uint)Reply >> 31 == 1;

    /// <exception cref="NbdProtocolException">The magic is wrong.</exception>
    public static NbdOptionReplyHeader Read(ReadOnlySpan<byte> source)
    {
        var magic = BinaryPrimitives.ReadUInt64BigEndian(source);
        if (magic != NbdMagic.OptionReply)
            throw new NbdProtocolException(
                $"Server sent an option reply with magic '{magic:x16}'; '{NbdMagic.OptionReply:x16}' is required.");
        return new NbdOptionReplyHeader(
            (NbdOption)BinaryPrimitives.ReadUInt32BigEndian(source[8..]),
            (NbdOptionReply)BinaryPrimitives.ReadUInt32BigEndian(source[12..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[16..]));
    }
}
