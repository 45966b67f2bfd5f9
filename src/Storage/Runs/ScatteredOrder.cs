// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>
/// An order of a disk's pieces that is another one for every run: hosts with equal disks that begin together would else be at the same
/// place all the time, and each store what all others have just stored. Pieces are whole leaves of the tree, and few.
/// </summary>
internal static class ScatteredOrder
{
    private const int MostPieces = 256;
    private const long MostLeaves = 1 << 18; // 4 TiB of 256 KiB chunks: their ids take 35 MB until the disk is done

    /// <summary>Whether a disk has pieces to choose from, and not too many leaves to keep.</summary>
    public static bool Suits(TreeShape shape) => Leaves(shape) is > 1 and <= MostLeaves;

    /// <summary>The pieces, in bytes; together they are the disk.</summary>
    public static IReadOnlyList<ByteRange> Of(TreeShape shape, RunId run)
    {
        var leaves = (Leaves(shape) + MostPieces - 1) / MostPieces;
        var length = leaves * TreeShape.FanOut << shape.ChunkLog2;
        var pieces = new List<ByteRange>();
        for (long at = 0; at < shape.Size; at += length)
            pieces.Add(ByteRange.FromBounds(at, Math.Min(at + length, shape.Size)));
        var shuffled = pieces.ToArray();
        new Random(BinaryPrimitives.ReadInt32LittleEndian(run.Value.ToByteArray().AsSpan(12))).Shuffle(shuffled);
        return shuffled;
    }

    private static long Leaves(TreeShape shape) => (shape.ChunkCount + TreeShape.FanOut - 1) / TreeShape.FanOut;
}
