// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a disk's writing came to.</summary>
public sealed record DiskResult
{
    internal DiskResult(string name, TreeShape shape, BuiltTree tree) => (Name, Shape, Tree) = (name, shape, tree);

    public string Name { get; }

    public long Size => Shape.Size;

    public int ChunkLog2 => Shape.ChunkLog2;

    public int Depth => Shape.Depth;

    public BlobId Root => Tree.Root;

    /// <summary>Bytes of the chunks written that differ from the base; ranges made zero without reading them are not counted.</summary>
    public long ChangedBytes { get; init; }

    /// <summary>Bytes of sealed chunks this disk added to the repository.</summary>
    public long StoredBytes { get; init; }

    /// <summary>Bytes of changed chunks that the repository knew already.</summary>
    public long DedupBytes { get; init; }

    /// <summary>Chunks written, by what became of them.</summary>
    public long InheritedChunks { get; init; }

    public long ZeroChunks { get; init; }

    public long KnownChunks { get; init; }

    public long StoredChunks { get; init; }

    /// <summary>Of the stored chunks, those the base had lost.</summary>
    public long HealedChunks { get; init; }

    /// <summary>A few of the chunks that are data and differ from the base, chosen evenly among them.</summary>
    public IReadOnlyList<long> SomeChanged { get; init; } = [];

    internal TreeShape Shape { get; }

    internal BuiltTree Tree { get; }

    /// <summary>The tree with its root's place; only once the run's packs are closed.</summary>
    internal TreeRef Reference => new(Shape, Root, Tree.Blob?.Location ?? Tree.Location);
}
