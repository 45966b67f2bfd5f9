// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Collections.Concurrent;
using System.Numerics;

namespace Tidemark.Blocks;

/// <summary>Lends buffers that <see cref="DirectIo"/> can use: aligned, pinned, of exactly the length asked for. Safe from any thread.
/// Keeps at most <see cref="Kept"/> bytes of idle ones.</summary>
public static class AlignedPool
{
    private const int Kept = 16 << 20;
    private static readonly ConcurrentBag<byte[]>[] _idle = [.. Enumerable.Range(0, 32).Select(_ => new ConcurrentBag<byte[]>())];
    private static long _kept;

    /// <summary>A buffer of any content; disposing it gives it back.</summary>
    public static IMemoryOwner<byte> Rent(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, 1 << 30);
        var size = Math.Max(length, DirectIo.Alignment);
        var bag = _idle[BitOperations.Log2((uint)size - 1) + 1];
        if (bag.TryTake(out var array))
            Interlocked.Add(ref _kept, -array.Length);
        else
            array = GC.AllocateUninitializedArray<byte>((int)BitOperations.RoundUpToPowerOf2((uint)size) + DirectIo.Alignment, pinned: true);
        return new Lease(array, length, bag);
    }

    private sealed unsafe class Lease : IMemoryOwner<byte>
    {
        private readonly ConcurrentBag<byte[]> _bag;
        private readonly Memory<byte> _memory;
        private byte[]? _array;

        public Lease(byte[] array, int length, ConcurrentBag<byte[]> bag)
        {
            (_array, _bag) = (array, bag);
            fixed (byte* start = array) // pinned for good: the address holds
            {
                var before = (int)(-(nint)start & (DirectIo.Alignment - 1));
                _memory = array.AsMemory(before, length);
            }
        }

        public Memory<byte> Memory => _array is not null ? _memory : throw new ObjectDisposedException(nameof(AlignedPool));

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _array, null) is not { } array)
                return;
            if (Interlocked.Add(ref _kept, array.Length) <= Kept)
                _bag.Add(array);
            else
                Interlocked.Add(ref _kept, -array.Length);
        }
    }
}
