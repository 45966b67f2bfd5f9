// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Compresses chunks with buffers of its own: one per worker. Skips what a sample shows not to compress, and decodes again what it
/// compressed, always or one time in sixteen, so that neither an encoder bug nor a flipped bit becomes history.
/// </summary>
internal sealed class ChunkCompressor(int level, bool checkAll, RunCounters counters) : IDisposable
{
    private const int SamplePiece = 4096;
    private const int SamplePieces = 4;
    private const int CountedPiece = 1024;
    private const int CheckEvery = 16;
    private readonly ZstdCodec _codec = new();
    private readonly byte[] _sample = new byte[SamplePiece * SamplePieces];
    private byte[] _output = [];
    private byte[] _decoded = [];
    private int _sinceCheck;

    /// <summary>The compressed chunk, valid until the next call; empty when it is to be stored as it is.</summary>
    /// <exception cref="InvalidDataException">What was compressed does not decode to the chunk.</exception>
    public ReadOnlyMemory<byte> Compress(ReadOnlySpan<byte> chunk)
    {
        if (_output.Length < chunk.Length)
            _output = GC.AllocateUninitializedArray<byte>(chunk.Length);
        int length;
        using (counters.Measure(RunStage.Compress))
        {
            if (!SampleCompresses(chunk))
                return default;
            length = _codec.Compress(chunk, _output.AsSpan(0, chunk.Length - 1), level);
        }

        if (length == 0)
            return default;
        if (checkAll || ++_sinceCheck == CheckEvery)
            Check(chunk, length);
        return _output.AsMemory(0, length);
    }

    public void Dispose() => _codec.Dispose();

    private bool SampleCompresses(ReadOnlySpan<byte> chunk)
    {
        if (!LooksRandom(chunk))
            return true;
        var step = chunk.Length / SamplePieces;
        for (var piece = 0; piece < SamplePieces; piece++)
            chunk.Slice(piece * step, SamplePiece).CopyTo(_sample.AsSpan(piece * SamplePiece));
        return _codec.Compress(_sample, _output.AsSpan(0, _sample.Length / 32 * 31), level) > 0;
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

    private void Check(ReadOnlySpan<byte> chunk, int length)
    {
        using var measured = counters.Measure(RunStage.Verify);
        _sinceCheck = 0;
        if (_decoded.Length < chunk.Length)
            _decoded = GC.AllocateUninitializedArray<byte>(chunk.Length);
        var decoded = _codec.Decompress(_output.AsSpan(0, length), _decoded.AsSpan(0, chunk.Length));
        if (decoded != chunk.Length || !_decoded.AsSpan(0, chunk.Length).SequenceEqual(chunk))
            throw new InvalidDataException(
                "A chunk that was just compressed does not decode to itself; the memory or the compressor is faulty.");
    }
}
