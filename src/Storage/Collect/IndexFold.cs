// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>A segment that counts, and the run whose point names it; null for a folded one.</summary>
internal sealed record CountingSegment(SegmentReference Reference, RunId? Origin);

/// <summary>
/// Writes segments anew without the packs to be deleted and with those that were moved. Folded ones that lose nothing and are large
/// stay as they are. Packs stay together, so that a deleted pack touches few segments, and one that several segments name is written
/// once. Memory: two segments, and the packs' names.
/// </summary>
internal sealed class IndexFold(RepositoryContext context, int epoch, IReadOnlySet<PackName> deleted)
{
    private const int Small = StorageLimits.SegmentMaxEntries / 2;
    private readonly List<string> _segments = [];
    private readonly List<IndexedPack> _packs = [];
    private readonly List<IndexEntry> _entries = [];
    private readonly HashSet<(PackName Pack, BlobId Said)> _written = [];
    private int _number;

    /// <summary>The folded segments that count from now on.</summary>
    public IReadOnlyList<string> Segments => _segments;

    public async Task FoldAsync(
        IReadOnlyList<CountingSegment> segments, IReadOnlyList<MovedPack> moved, CancellationToken cancellationToken)
    {
        var small = new List<(string Key, IndexSegment Segment)>();
        foreach (var segment in segments)
        {
            var content = await CollectorSegments.ReadAsync(context, segment.Reference, cancellationToken);
            var isTouched = segment.Origin is not null || content.Packs.Any(pack => deleted.Contains(pack.Name));
            if (!isTouched && content.Count >= Small)
                _segments.Add(segment.Reference.Key);
            else if (!isTouched && small.Count == 0)
                small.Add((segment.Reference.Key, content));
            else
                await AddAsync(content, segment.Origin, cancellationToken);
        }

        foreach (var pack in moved)
            await AddAsync(pack, cancellationToken);

        // A small one that nothing is written beside stays as well.
        if (small.Count > 0 && _entries.Count == 0)
            _segments.Add(small[0].Key);
        else if (small.Count > 0)
            await AddAsync(small[0].Segment, null, cancellationToken);
        await WriteAsync(cancellationToken);
    }

    private async Task AddAsync(IndexSegment segment, RunId? origin, CancellationToken cancellationToken)
    {
        var accepted = await CollectorSegments.AcceptedAsync(context, segment, origin, null, cancellationToken);
        var byPack = new List<IndexEntry>?[segment.Packs.Count];
        for (var i = 0; i < segment.Count; i++)
        {
            var entry = segment[i];
            if (accepted.Accepts(entry) && !deleted.Contains(segment.Packs[(int)entry.Pack].Name))
                (byPack[entry.Pack] ??= []).Add(entry);
        }

        for (var i = 0; i < byPack.Length; i++)
        {
            if (byPack[i] is { } entries && IsNew(segment.Packs[i].Name, entries))
                await AddAsync(segment.Packs[i], entries, cancellationToken);
        }
    }

    // Who wrote a pack and who uses it say the same of it. Whoever says something else takes nobody's place.
    private bool IsNew(PackName pack, List<IndexEntry> entries)
    {
        var said = PackContents.Write([.. entries.Select(entry => new PackEntry(
            entry.Id, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression))]);
        return _written.Add((pack, BlobId.From(SHA256.HashData(said))));
    }

    private async Task AddAsync(MovedPack pack, CancellationToken cancellationToken)
    {
        var entries = pack.Entries.Select(entry => new IndexEntry(
            entry.Id, 0, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression));
        await AddAsync(pack.Pack, [.. entries], cancellationToken);
    }

    private async Task AddAsync(IndexedPack pack, List<IndexEntry> entries, CancellationToken cancellationToken)
    {
        for (var at = 0; at < entries.Count;)
        {
            var together = Math.Min(entries.Count, StorageLimits.PackMaxBlobs);
            if (_entries.Count > 0 && _entries.Count + together > StorageLimits.SegmentMaxEntries)
                await WriteAsync(cancellationToken);
            var number = (uint)_packs.Count;
            _packs.Add(pack);
            var part = Math.Min(entries.Count - at, StorageLimits.SegmentMaxEntries - _entries.Count);
            for (var end = at + part; at < end; at++)
                _entries.Add(entries[at] with { Pack = number });
        }
    }

    private async Task WriteAsync(CancellationToken cancellationToken)
    {
        if (_entries.Count == 0)
            return;
        var plain = IndexSegment.Write(_packs, _entries);
        var key = ObjectNames.FoldedSegment(epoch, _number++, BlobId.From(SHA256.HashData(plain)));

        // The name is the hash of what it says: one that is there, of another collector, says the same.
        await context.Store.PutIfAbsentAsync(key, context.Close(key, plain), cancellationToken);
        _segments.Add(key);
        _packs.Clear();
        _entries.Clear();
    }
}
