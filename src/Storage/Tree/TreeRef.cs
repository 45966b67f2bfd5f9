// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A tree in a repository: what it spans, its root, and (advice) where the root lies.</summary>
public sealed record TreeRef
{
    internal TreeRef(TreeShape shape, BlobId root, BlobLocation hint)
    {
        Shape = shape;
        Root = root;
        Hint = hint;
    }

    public long Size => Shape.Size;

    public int ChunkLog2 => Shape.ChunkLog2;

    public int Depth => Shape.Depth;

    /// <summary>All zero for content of zero bytes only.</summary>
    public BlobId Root { get; }

    internal TreeShape Shape { get; }

    internal BlobLocation Hint { get; }

    internal RootHint? HintDocument => Hint.Pack is { } pack ? new RootHint(pack.Key, Hint.Offset, Hint.Length) : null;

    /// <exception cref="FormatException">The numbers contradict each other or the format.</exception>
    internal static TreeRef Of(long size, int chunkLog2, int depth, string root, RootHint? hint)
    {
        if (size is < 0 or > StorageLimits.MaxDiskSize || !StorageLimits.IsChunkLog2(chunkLog2))
            throw new FormatException($"A disk of {size} bytes with chunks of 2^{chunkLog2} is outside the format.");
        var shape = new TreeShape(size, chunkLog2);
        if (shape.Depth != depth)
            throw new FormatException($"A disk of {size} bytes with chunks of 2^{chunkLog2} has depth {shape.Depth}, not {depth}.");
        var pack = hint is null ? null : PackName.TryParse(hint.Pack);
        return new TreeRef(shape, BlobId.Parse(root), pack is null ? default : new BlobLocation(pack, hint!.Off, hint.Len));
    }
}

/// <summary>The arithmetic of a disk's tree (docs/format.md section 7).</summary>
internal readonly record struct TreeShape(long Size, int ChunkLog2)
{
    public const int FanOutLog2 = 6;
    public const int FanOut = 1 << FanOutLog2;

    public int ChunkSize => 1 << ChunkLog2;

    public long ChunkCount => (Size + ChunkSize - 1) >> ChunkLog2;

    /// <summary>Levels: the least d of at least 1 with 64^d chunks or more.</summary>
    public int Depth
    {
        get
        {
            var depth = 1;
            while (Span(depth) < ChunkCount)
                depth++;
            return depth;
        }
    }

    /// <summary>Chunks below a node of level <paramref name="childLevel"/> - 1; a child of a node at level L spans Span(L).</summary>
    public static long Span(int childLevel) => 1L << (FanOutLog2 * childLevel);

    /// <summary>Bytes of the disk that a chunk holds: less than a chunk for the last one.</summary>
    public int LengthOf(long chunk) => (int)Math.Min(ChunkSize, Size - (chunk << ChunkLog2));
}
