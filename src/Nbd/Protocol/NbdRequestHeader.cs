// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Nbd;

/// <summary>
/// A request (spec, "Request message"), followed by the payload of a WRITE:
/// <c>0 magic u32 | 4 flags u16 | 6 type u16 | 8 cookie u64 | 16 offset u64 | 24 length u32</c>, big-endian.
/// </summary>
public readonly record struct NbdRequestHeader(NbdCommandFlags Flags, NbdCommand Command, ulong Cookie, ulong Offset, uint Length)
{
    public const int Size = 4 + 2 + 2 + 8 + 8 + 4;

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, NbdMagic.Request);
        BinaryPrimitives.WriteUInt16BigEndian(target[4..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(target[6..], (ushort)Command);
        BinaryPrimitives.WriteUInt64BigEndian(target[8..], Cookie);
        BinaryPrimitives.WriteUInt64BigEndian(target[16..], Offset);
        BinaryPrimitives.WriteUInt32BigEndian(target[24..], Length);
    }

    /// <exception cref="NbdProtocolException">The magic is wrong.</exception>
    public static NbdRequestHeader Read(ReadOnlySpan<byte> source)
    {
        var magic = BinaryPrimitives.ReadUInt32BigEndian(source);
        if (magic != NbdMagic.Request)
            throw new NbdProtocolException($"Client sent a request with magic '{magic:x8}'; '{NbdMagic.Request:x8}' is required.");
        return new NbdRequestHeader(
            (NbdCommandFlags)BinaryPrimitives.ReadUInt16BigEndian(source[4..]),
            (NbdCommand)BinaryPrimitives.ReadUInt16BigEndian(source[6..]),
            BinaryPrimitives.ReadUInt64BigEndian(source[8..]),
            BinaryPrimitives.ReadUInt64BigEndian(source[16..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[24..]));
    }
}
