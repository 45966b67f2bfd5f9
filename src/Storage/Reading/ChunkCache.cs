// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>The chunks read last, plain; at most <see cref="Capacity"/> bytes. Safe from any thread.</summary>
internal sealed class ChunkCache
{
    public const long Capacity = 16 << 20;
    private readonly Lock _gate = new();
    private readonly Dictionary<BlobId, LinkedListNode<(BlobId Id, byte[] Chunk)>> _byId = [];
    private readonly LinkedList<(BlobId Id, byte[] Chunk)> _byUse = new();
    private long _size;

    /// <summary>Copies a part of a cached chunk; false when it is not cached.</summary>
    public bool TryCopy(in BlobId id, int offset, Span<byte> target)
    {
        byte[] chunk;
        lock (_gate)
        {
            if (!_byId.TryGetValue(id, out var entry))
                return false;
            _byUse.Remove(entry);
            _byUse.AddFirst(entry);
            chunk = entry.Value.Chunk;
        }

        chunk.AsSpan(offset, target.Length).CopyTo(target);
        return true;
    }

    /// <summary>Takes a chunk over; it is never changed or reused afterwards.</summary>
    public void Add(in BlobId id, byte[] chunk)
    {
        lock (_gate)
        {
            if (_byId.ContainsKey(id))
                return;
            _byId.Add(id, _byUse.AddFirst((id, chunk)));
            _size += chunk.Length;
            while (_size > Capacity && _byUse.Count > 1)
            {
                var oldest = _byUse.Last!.Value;
                _byId.Remove(oldest.Id);
                _byUse.RemoveLast();
                _size -= oldest.Chunk.Length;
            }
        }
    }
}
