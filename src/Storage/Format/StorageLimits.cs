// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Every bound of the format (docs/format.md section 13) and of the pipeline, with its reason.</summary>
public static class StorageLimits
{
    /// <summary>256 KiB chunks: at most four times what changed in the worst case, no loss in compression.</summary>
    public const int DefaultChunkLog2 = 18;

    /// <summary>64 KiB chunks for attachments: most are small.</summary>
    internal const int FileChunkLog2 = 16;

    internal const int MaxBlob = (1 << 24) - 1;
    internal const int MaxSealedObject = 64 << 20;
    internal const int MaxDepth = 8;
    internal const long MaxDiskSize = 1L << 62;

    /// <summary>A pack is closed at this many bytes: one PUT, and few enough objects.</summary>
    internal const long PackTarget = 64 << 20;

    /// <summary>Beside other runs that may want what is in it: until it is closed they store the same.</summary>
    internal const long SharedPackTarget = 16 << 20;

    /// <summary>A pack of tiny blobs is closed here, which bounds the nodes that wait for its name.</summary>
    internal const int PackMaxBlobs = 16_384;

    /// <summary>6 MiB of entries: a segment is sealed and opened in one piece.</summary>
    internal const int SegmentMaxEntries = 131_072;

    /// <summary>Chunks queued before a worker takes them, for each worker; what waits longer only leaves the cache.</summary>
    internal const int QueuedChunks = 2;

    /// <summary>Chunks queued however many workers there are: 4 MiB at 256 KiB, 64 MiB at 4 MiB.</summary>
    internal const int MostQueuedChunks = 16;

    /// <summary>Whether a chunk may have this many bytes.</summary>
    internal static bool IsChunkSize(uint length) =>
        System.Numerics.BitOperations.IsPow2(length) && IsChunkLog2(System.Numerics.BitOperations.Log2(length));

    /// <summary>Chunk sizes a disk may have, as powers of two.</summary>
    public static bool IsChunkLog2(int value) => value is 16 or 17 or 18 or 19 or 20 or 22;
}
