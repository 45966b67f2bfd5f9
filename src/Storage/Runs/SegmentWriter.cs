// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// Writes a run's index segments, each when it is full and the last at the end, after the packs it names (I3). Memory: one segment.
/// Called with packs as they become durable, from any thread.
/// </summary>
internal sealed class SegmentWriter(RepositoryContext context, RunId run) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1);
    private readonly List<IndexedPack> _packs = [];
    private readonly List<IndexEntry> _entries = [];
    private readonly List<SegmentReference> _written = [];

    public IReadOnlyList<SegmentReference> Written => _written;

    /// <summary>Bytes of the segments written.</summary>
    public long Length { get; private set; }

    public Task AddAsync(OpenPack pack, CancellationToken cancellationToken) =>
        AddAsync(new IndexedPack(pack.Name!, (uint)pack.Length), pack.Entries, cancellationToken);

    public async Task AddAsync(IndexedPack pack, IReadOnlyList<PackEntry> entries, CancellationToken cancellationToken)
    {
        await _gate.EnterAsync(cancellationToken);
        try
        {
            if (_entries.Count + entries.Count > StorageLimits.SegmentMaxEntries)
                await WriteAsync(cancellationToken);
            var number = (uint)_packs.Count;
            _packs.Add(pack);
            foreach (var entry in entries)
                _entries.Add(
                    new IndexEntry(entry.Id, number, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression));
        }
        finally
        {
            _gate.Release();
        }
    }

    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        await _gate.EnterAsync(cancellationToken);
        try
        {
            await WriteAsync(cancellationToken);
        }
        finally
        {
            _gate.Release();
        }
    }

    public void Dispose() => _gate.Dispose();

    private async Task WriteAsync(CancellationToken cancellationToken)
    {
        if (_entries.Count == 0)
            return;
        var key = ObjectNames.Segment(run, _written.Count);
        var content = context.Close(key, IndexSegment.Write(_packs, _entries));
        if (!await context.Store.PutIfAbsentAsync(key, content, cancellationToken))
            throw new RepositoryDamagedException(key, "no such object before this run wrote it", "one");
        _written.Add(new SegmentReference(key, Convert.ToHexStringLower(SHA256.HashData(content))));
        Length += content.Length;
        _packs.Clear();
        _entries.Clear();
    }
}
