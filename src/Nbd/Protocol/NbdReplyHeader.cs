// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Nbd;

/// <summary>
/// A simple reply (spec, "Simple reply message"), followed by the data of a successful READ:
/// <c>0 magic u32 | 4 error u32 | 8 cookie u64</c>, big-endian.
/// </summary>
public readonly record struct NbdSimpleReply(NbdError Error, ulong Cookie)
{
    public const int Size = 4 + 4 + 8;

    /// <summary>Reads the fields; the caller has looked at the magic.</summary>
    public static NbdSimpleReply Read(ReadOnlySpan<byte> source) => new(
        (NbdError)BinaryPrimitives.ReadUInt32BigEndian(source[4..]),
        BinaryPrimitives.ReadUInt64BigEndian(source[8..]));

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, NbdMagic.SimpleReply);
        BinaryPrimitives.WriteUInt32BigEndian(target[4..], (uint)Error);
        BinaryPrimitives.WriteUInt64BigEndian(target[8..], Cookie);
    }
}

/// <summary>
/// The head of one chunk of a structured reply (spec, "Structured reply chunk message"):
/// <c>0 magic u32 | 4 flags u16 | 6 type u16 | 8 cookie u64 | 16 length u32</c>, big-endian.
/// </summary>
public readonly record struct NbdChunkHeader(NbdChunkFlags Flags, NbdChunkType Type, ulong Cookie, uint Length)
{
    public const int Size = 4 + 2 + 2 + 8 + 4;

    public bool IsDone => Flags.HasFlag(NbdChunkFlags.Done);

    /// <summary>Bit 15 of the type marks an error, also one this side does not know.</summary>
    public bool IsError => ((ushort)Type & 0x8000) != 0;

    /// <summary>Reads the fields; the caller has looked at the magic.</summary>
    public static NbdChunkHeader Read(ReadOnlySpan<byte> source) => new(
        (NbdChunkFlags)BinaryPrimitives.ReadUInt16BigEndian(source[4..]),
        (NbdChunkType)BinaryPrimitives.ReadUInt16BigEndian(source[6..]),
        BinaryPrimitives.ReadUInt64BigEndian(source[8..]),
        BinaryPrimitives.ReadUInt32BigEndian(source[16..]));

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, NbdMagic.StructuredReply);
        BinaryPrimitives.WriteUInt16BigEndian(target[4..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(target[6..], (ushort)Type);
        BinaryPrimitives.WriteUInt64BigEndian(target[8..], Cookie);
        BinaryPrimitives.WriteUInt32BigEndian(target[16..], Length);
    }
}

/// <summary>Flags of a chunk (spec, "Structured reply flags").</summary>
[Flags]
public enum NbdChunkFlags : ushort
{
    None = 0,
    Done = 1, // NBD_REPLY_FLAG_DONE
}

/// <summary>Types of a chunk (spec, "Structured reply types").</summary>
public enum NbdChunkType : ushort
{
    None = 0, // NBD_REPLY_TYPE_NONE
    OffsetData = 1, // NBD_REPLY_TYPE_OFFSET_DATA
    OffsetHole = 2, // NBD_REPLY_TYPE_OFFSET_HOLE
    BlockStatus = 5, // NBD_REPLY_TYPE_BLOCK_STATUS
    Error = 0x8001, // NBD_REPLY_TYPE_ERROR
    ErrorOffset = 0x8002, // NBD_REPLY_TYPE_ERROR_OFFSET
}
