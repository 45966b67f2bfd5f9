// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Every data key at hand, for blobs whose key domain nobody says: tried one after the other, the one that fitted last first. Safe from
/// any thread.
/// </summary>
internal sealed class DataKeys
{
    private readonly RepositoryKeys[] _keys;
    private int _last;

    /// <param name="keys">Those the repository was opened with.</param>
    /// <param name="domains">The registered domains, listed after whatever is to be opened.</param>
    public DataKeys(RepositoryKeys keys, IEnumerable<string> domains) =>
        _keys = keys.Role switch
        {
            KeyRole.Full => [keys, .. domains.Append("").Where(domain => domain != keys.Domain).Select(keys.In)],
            KeyRole.Domain => [keys],
            _ => [],
        };

    /// <summary>Whether there is any.</summary>
    public bool IsEmpty => _keys.Length == 0;

    /// <summary>Opens a chunk into <paramref name="plain"/>, which has its size, and recomputes its id.</summary>
    public bool TryOpen(ZstdCodec codec, in BlobId id, ReadOnlySpan<byte> blob, Span<byte> scratch, Span<byte> plain)
    {
        var first = Volatile.Read(ref _last);
        for (var i = 0; i < _keys.Length; i++)
        {
            var number = (first + i) % _keys.Length;
            if (BlobSealer.TryOpen(_keys[number], codec, BlobKind.Chunk, in id, blob, scratch, plain) != plain.Length
                || _keys[number].ChunkId(plain) != id)
                continue;
            Volatile.Write(ref _last, number);
            return true;
        }

        return false;
    }
}
