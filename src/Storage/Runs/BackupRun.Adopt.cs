// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

public sealed partial class BackupRun
{
    /// <summary>Where a chunk lies that may be reused here (I10); null when it must be stored.</summary>
    internal ValueTask<BlobLocation?> FindKnownAsync(BlobId id, int chunkSize) => _known.FindAsync(id, chunkSize, _stop.Token);

    /// <summary>Takes over a pack of chunks as it is, under this run's name; what it holds is known from then on.</summary>
    internal async Task AdoptAsync(
        BlobId hash, ReadOnlyMemory<byte> bytes, IReadOnlyList<PackEntry> entries, CancellationToken cancellationToken)
    {
        ThrowIfFailed();
        var pack = new IndexedPack(new PackName(_context.Writer, Id, hash, IsData: true), (uint)bytes.Length);
        if (!await _context.Store.PutIfAbsentAsync(pack.Name.Key, bytes, cancellationToken)
            && (await _context.Store.HeadAsync(pack.Name.Key, cancellationToken))?.Size != bytes.Length)
            throw new RepositoryDamagedException(pack.Name.Key, $"a pack of {bytes.Length} bytes", "another object under its name");
        _known.Closed(pack, entries);
        await _segments.AddAsync(pack, entries, _stop.Token);
        Interlocked.Add(ref _adoptedLength, bytes.Length);
    }
}
