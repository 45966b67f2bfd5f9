// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Compresses chunks: one per worker. Skips what a sample shows not to compress, and decodes again what it compressed, always or one
/// time in sixteen, so that neither an encoder bug nor a flipped bit becomes history.
/// </summary>
internal sealed class ChunkCompressor(int level, bool checkAll, RunCounters counters) : IDisposable
{
    private const int SamplePiece = 4096;
    private const int SamplePieces = 4;
    private const int CountedPiece = 1024;
    private const int CheckEvery = 16;
    private readonly ZstdCodec _codec = new();
    private readonly byte[] _sample = new byte[SamplePiece * SamplePieces];
    private byte[] _decoded = [];
    private int _sinceCheck;

    /// <summary>
    /// Compresses a chunk into <paramref name="target"/>, at least as long, and returns the length; 0 when it is to be stored as it is.
    /// </summary>
    /// <exception cref="InvalidDataException">What was compressed does not decode to the chunk.</exception>
    public int Compress(ReadOnlySpan<byte> chunk, Span<byte> target)
    {
        int length;
        using (counters.Measure(RunStage.Compress))
        {
            if (!SampleCompresses(chunk, target))
                return 0;
            length = _codec.Compress(chunk, target[..(chunk.Length - 1)], level);
        }

        if (length > 0 && (checkAll || ++_sinceCheck == CheckEvery))
            Check(chunk, target[..length]);
        return length;
    }

    public void Dispose() => _codec.Dispose();

    private bool SampleCompresses(ReadOnlySpan<byte> chunk, Span<byte> scratch)
    {
        if (!LooksRandom(chunk))
            return true;
        var step = chunk.Length / SamplePieces;
        for (var piece = 0; piece < SamplePieces; piece++)
            chunk.Slice(piece * step, SamplePiece).CopyTo(_sample.AsSpan(piece * SamplePiece));
        return _codec.Compress(_sample, scratch[..(_sample.Length / 32 * 31)], level) > 0;
    }

    // Counts bytes, of a few pieces as it is done for every chunk: random or compressed data uses all values about equally. The sum of
    // squares is then close to n + n * n / 256, within a thirtieth; anything with structure in its bytes lies far above. What only
    // repeats is left to the sample's compression.
    private static bool LooksRandom(ReadOnlySpan<byte> chunk)
    {
        Span<int> counts = stackalloc int[256];
        counts.Clear();
        var step = chunk.Length / SamplePieces;
        for (var piece = 0; piece < SamplePieces; piece++)
        {
            foreach (var value in chunk.Slice(piece * step, CountedPiece))
                counts[value]++;
        }

        long squares = 0;
        foreach (var count in counts)
            squares += (long)count * count;
        const long Counted = CountedPiece * SamplePieces;
        const long Flat = Counted + Counted * Counted / 256;
        return squares < Flat + Flat / 8;
    }

    private void Check(ReadOnlySpan<byte> chunk, ReadOnlySpan<byte> compressed)
    {
        using var measured = counters.Measure(RunStage.Verify);
        _sinceCheck = 0;
        if (_decoded.Length < chunk.Length)
            _decoded = GC.AllocateUninitializedArray<byte>(chunk.Length);
        var decoded = _codec.Decompress(compressed, _decoded.AsSpan(0, chunk.Length));
        if (decoded != chunk.Length || !_decoded.AsSpan(0, chunk.Length).SequenceEqual(chunk))
            throw new InvalidDataException(
                "A chunk that was just compressed does not decode to itself; the memory or the compressor is faulty.");
    }
}
