// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>What this side accepts from, and asks of, a peer; the first line of defence against lengths that lie.</summary>
public static class NbdLimits
{
    /// <summary>Port of NBD when a URI names none.</summary>
    public const int DefaultPort = 10809;

    /// <summary>Bytes of an export name, description, context name or error text (spec, "String values").</summary>
    public const int MaxStringLength = 4096;

    /// <summary>Payload of an option reply: the largest legal one holds two strings and some numbers.</summary>
    public const int MaxOptionReplyLength = 4 + 2 * MaxStringLength + 1024;

    /// <summary>Replies to one option: a server with more exports than this is not listed whole, it is refused.</summary>
    public const int MaxOptionReplies = 65536;

    /// <summary>Meta contexts of one connection: each costs a chunk in every status reply.</summary>
    public const int MaxContexts = 256;

    /// <summary>Payload of one READ or WRITE when the server names no maximum (spec, "Block size constraints").</summary>
    public const uint DefaultMaxPayload = 32 * 1024 * 1024;

    /// <summary>Largest minimum block size the spec allows.</summary>
    public const uint MaxMinimumBlockSize = 65536;

    /// <summary>Preferred block size when the server names none.</summary>
    public const uint DefaultPreferredBlockSize = 4096;

    /// <summary>
    /// Payload of one chunk of a status reply. QEMU sends at most 2^17 extents, 1 MiB; nbdkit at most 2^20, 8 MiB.
    /// </summary>
    public const int MaxStatusPayload = 4 + 8 * 1024 * 1024;

    /// <summary>Length of one BLOCK_STATUS request: 32 bits, kept a multiple of every legal minimum block size.</summary>
    public const long MaxStatusLength = (1L << 32) - MaxMinimumBlockSize;

    /// <summary>
    /// Length of one TRIM or WRITE_ZEROES request. The spec allows 4 GiB; a server that must write the zeroes does this
    /// much well within a request timeout.
    /// </summary>
    public const int MaxZeroLength = 256 * 1024 * 1024;

    /// <summary>Requests in flight on one connection, at most: QEMU serves 16 and leaves the rest in the socket.</summary>
    public const int MaxDepth = 1024;

    /// <summary>Connections to one export, at most: QEMU serves 100 in all.</summary>
    public const int MaxConnections = 16;
}
