// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Where blobs lie, from the segments of one listing, loaded on first need, and from what this run adds. Safe from any thread.
/// A segment that is gone or damaged costs dedup, nothing else; verify finds it.
/// </summary>
internal sealed class RepositoryIndex(RepositoryContext context, IndexListing listing) : IDisposable
{
    private const int LoadsAtOnce = 4;
    private readonly Lock _gate = new();
    private readonly BlobTable _table = new();
    private readonly List<IndexedPack> _packs = [];
    private readonly List<Task<bool>?> _packChecks = [];
    private readonly Dictionary<PackName, uint> _numbers = [];
    private Task? _loading;

    /// <summary>The epoch whose index it was loaded from.</summary>
    public int Epoch => listing.Epoch;

    public bool IsLoaded => _loading is { IsCompletedSuccessfully: true };

    /// <summary>Loads the segments once; concurrent callers share the load. It outlives a caller that gives up.</summary>
    public Task EnsureLoadedAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
            _loading ??= context.Scheduler.Start(() => LoadAsync(CancellationToken.None));
        return _loading.IsCompleted ? _loading : _loading.OrCancelled(cancellationToken);
    }

    /// <summary>A copy of a blob and its pack, after <paramref name="skip"/> others, or null when there are no more.</summary>
    public (IndexEntry Entry, IndexedPack Pack)? Find(in BlobId id, int skip)
    {
        lock (_gate)
        {
            var slot = _table.Find(in id, skip);
            if (slot < 0)
                return null;
            var entry = _table.Get(slot);
            return (entry, _packs[(int)entry.Pack]);
        }
    }

    /// <summary>Whether a found entry was checked by this run; <see cref="MarkChecked"/> says so.</summary>
    public bool IsChecked(in BlobId id, int skip)
    {
        lock (_gate)
        {
            var slot = _table.Find(in id, skip);
            return slot >= 0 && _table.IsMarked(slot);
        }
    }

    public void MarkChecked(in BlobId id, int skip)
    {
        lock (_gate)
        {
            var slot = _table.Find(in id, skip);
            if (slot >= 0)
                _table.Mark(slot);
        }
    }

    /// <summary>Marks an id; whether this is the first time, or null when the index does not know it.</summary>
    public bool? TryMark(in BlobId id)
    {
        lock (_gate)
        {
            var slot = _table.Find(in id, 0);
            if (slot < 0)
                return null;
            var isFirst = !_table.IsMarked(slot);
            _table.Mark(slot);
            return isFirst;
        }
    }

    /// <summary>Adds what this run stored, its pack being durable.</summary>
    public void Add(IndexedPack pack, IEnumerable<PackEntry> entries)
    {
        lock (_gate)
        {
            var number = NumberOf(pack);
            _packChecks[(int)number] = Task.FromResult(true);
            foreach (var entry in entries)
                _table.Set(new IndexEntry(entry.Id, number, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression));
        }
    }

    /// <summary>Whether a pack is there with its size; asked of the store once (I10).</summary>
    public Task<bool> IsPresentAsync(uint pack, CancellationToken cancellationToken)
    {
        lock (_gate)
            return _packChecks[(int)pack] ??= CheckAsync(_packs[(int)pack], cancellationToken);
    }

    public void Dispose() => _table.Dispose();

    private async Task<bool> CheckAsync(IndexedPack pack, CancellationToken cancellationToken) =>
        await context.Store.HeadAsync(pack.Name.Key, cancellationToken) is { } info && info.Size == pack.Size;

    private async Task LoadAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
            _table.Reserve(listing.EstimatedEntries);
        var options = context.Scheduler.AtOnce(LoadsAtOnce, cancellationToken);
        await Parallel.ForEachAsync(listing.Segments, options, async (key, token) =>
        {
            try
            {
                if (await context.ReadSealedAsync(key, token) is { } plain)
                    Merge(IndexSegment.Read(key, plain));
            }
            catch (RepositoryDamagedException)
            {
                return;
            }
        });
    }

    private void Merge(IndexSegment segment)
    {
        lock (_gate)
        {
            _table.Reserve(segment.Count);
            var numbers = new uint?[segment.Packs.Count];
            for (var i = 0; i < numbers.Length; i++)
                numbers[i] = listing.ExcludedPacks.Contains(segment.Packs[i].Name.Key) ? null : NumberOf(segment.Packs[i]);
            for (var i = 0; i < segment.Count; i++)
            {
                var entry = segment[i];
                if (entry.Pack < numbers.Length && numbers[entry.Pack] is { } number
                    && entry.Length is >= BlobSealer.Overhead and <= StorageLimits.MaxBlob)
                    _table.Set(entry with { Pack = number });
            }
        }
    }

    // Caller holds _gate.
    private uint NumberOf(IndexedPack pack)
    {
        if (_numbers.TryGetValue(pack.Name, out var number))
            return number;
        number = (uint)_packs.Count;
        _packs.Add(pack);
        _packChecks.Add(null);
        _numbers.Add(pack.Name, number);
        return number;
    }
}
