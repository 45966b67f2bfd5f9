// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Where blobs lie, from the segments of one listing, loaded on first need, and from what this run adds. Safe from any thread.
/// A segment that is gone or damaged costs a writer dedup, nothing else, and a reader a look into every pack that no other segment
/// names; verify finds it.
/// </summary>
/// <param name="context">The repository.</param>
/// <param name="listing">The segments.</param>
/// <param name="adoptFor">A writer's machine, whose failed runs' packs are looked for, too; null for a reader.</param>
internal sealed class RepositoryIndex(RepositoryContext context, IndexListing listing, MachineId? adoptFor = null) : IDisposable
{
    private const int LoadsAtOnce = 4;
    private const int AdoptsAtOnce = 8;
    private readonly Lock _gate = new();
    private readonly BlobTable _table = new();
    private readonly List<IndexedPack> _packs = [];
    private readonly List<Task<bool>?> _packChecks = [];
    private readonly Dictionary<(PackName Name, bool IsHearsay), uint> _numbers = [];
    private readonly List<bool> _hearsay = [];
    private readonly HashSet<uint> _adopted = []; // that no segment names, and of which nothing is used yet
    private readonly HashSet<PackName> _refused = [];
    private Task? _loading;

    /// <summary>Told of segments and packs that the store fails for good to read, which then count as damaged; without it that is
    /// thrown.</summary>
    public Action<string, StoreException>? Unread { get; init; }

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
    public bool IsChecked(in IndexEntry entry)
    {
        lock (_gate)
        {
            var slot = SlotOf(entry);
            return slot >= 0 && _table.IsMarked(slot);
        }
    }

    public void MarkChecked(in IndexEntry entry)
    {
        lock (_gate)
        {
            var slot = SlotOf(entry);
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

    /// <summary>Adds what lies in a pack that is durable and was seen by this run, or is its own.</summary>
    public void Add(IndexedPack pack, IEnumerable<PackEntry> entries) => Add(pack, entries, isHearsay: false);

    private void Add(IndexedPack pack, IEnumerable<PackEntry> entries, bool isHearsay)
    {
        lock (_gate)
        {
            var number = NumberOf(pack, isHearsay);
            _packChecks[(int)number] = Task.FromResult(true);
            foreach (var entry in entries)
                _table.Set(new IndexEntry(entry.Id, number, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression));
        }
    }

    /// <summary>Whether an entry is hearsay (<see cref="IndexSegment.IsHearsay"/>), to be opened before it is used.</summary>
    public bool IsHearsay(uint pack)
    {
        lock (_gate)
            return _hearsay[(int)pack];
    }

    /// <summary>A blob of this pack is used by the run; whether it is the first of an adopted one, which the run has to name.</summary>
    public bool IsFirstUse(uint pack)
    {
        lock (_gate)
            return _adopted.Remove(pack);
    }

    /// <summary>Whether a pack may be taken up: neither excluded, nor known, nor found to be none.</summary>
    public bool MayAdopt(PackName pack)
    {
        lock (_gate)
            return !listing.ExcludedPacks.Contains(pack.Key) && !_refused.Contains(pack)
                && !_numbers.ContainsKey((pack, false)) && !_numbers.ContainsKey((pack, true));
    }

    /// <summary>
    /// Takes up packs of chunks that no segment names, by their own contents. Listed only after the run registered and read what is
    /// condemned (docs/format.md section 10b).
    /// </summary>
    /// <exception cref="StoreException">The store failed.</exception>
    public async Task AdoptAsync(IEnumerable<ListedPack> packs, CancellationToken cancellationToken)
    {
        var options = context.Scheduler.AtOnce(AdoptsAtOnce, cancellationToken);
        await Parallel.ForEachAsync(packs.Where(pack => MayAdopt(pack.Name)), options, async (pack, token) =>
        {
            if (await PackReading.TryReadAsync(context, pack, BlobKind.Chunk, token) is { } contents)
                Adopt(contents);
            else
                Refuse(pack.Name);
        });
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
        var isWhole = true;
        var options = context.Scheduler.AtOnce(LoadsAtOnce, cancellationToken);
        await Parallel.ForEachAsync(listing.Segments, options, async (key, token) =>
        {
            try
            {
                if (await context.ReadSealedAsync(key, token) is { } plain)
                    Merge(IndexSegment.Read(key, plain));
                else
                    Volatile.Write(ref isWhole, false);
            }
            catch (RepositoryDamagedException)
            {
                Volatile.Write(ref isWhole, false);
            }
            catch (StoreException failure) when (Unread is not null && !failure.IsTransient)
            {
                Unread(key, failure);
                Volatile.Write(ref isWhole, false);
            }
        });
        if (!isWhole && adoptFor is null && (await EpochListing.ReadAsync(context, cancellationToken)).IndexEpoch == listing.Epoch)
            await AddUnnamedAsync(cancellationToken); // else a collector has folded it away, and a newer index tells more
        if (adoptFor is { } machine)
            await AdoptAsync(await FailedRuns.ListPacksAsync(context, machine, cancellationToken), cancellationToken);
    }

    // Packs say themselves what they hold: without a segment everything is still found, only slower.
    private async Task AddUnnamedAsync(CancellationToken cancellationToken)
    {
        var packs = new List<ListedPack>();
        await foreach (var info in context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
        {
            if (ListedPack.TryParse(info) is { } pack && MayAdopt(pack.Name))
                packs.Add(pack);
        }

        await Parallel.ForEachAsync(packs, context.Scheduler.AtOnce(context.Store.ReadsAtOnce, cancellationToken), async (pack, token) =>
        {
            try
            {
                if (await PackReading.TryReadAsync(context, pack, pack.Name.IsData ? BlobKind.Chunk : BlobKind.Node, token) is { } found)
                    Add(found.Pack, found.Entries, isHearsay: true);
            }
            catch (StoreException failure) when (Unread is not null && !failure.IsTransient)
            {
                Unread(pack.Name.Key, failure);
            }
        });
    }

    private void Adopt(DescribedPack pack)
    {
        lock (_gate)
        {
            // Whoever can write to the store could have put it there: opened before it is used, like any hearsay.
            Add(pack.Pack, pack.Entries, isHearsay: true);
            _adopted.Add(_numbers[(pack.Pack.Name, true)]);
        }
    }

    private void Refuse(PackName pack)
    {
        lock (_gate)
            _refused.Add(pack);
    }

    // Caller holds _gate.
    private long SlotOf(in IndexEntry entry)
    {
        for (var copy = 0; ; copy++)
        {
            var slot = _table.Find(entry.Id, copy);
            if (slot < 0 || _table.Get(slot).Pack == entry.Pack)
                return slot;
        }
    }

    private void Merge(IndexSegment segment)
    {
        lock (_gate)
        {
            _table.Reserve(segment.Count);
            var numbers = new uint?[segment.Packs.Count];
            for (var i = 0; i < numbers.Length; i++)
                numbers[i] = listing.ExcludedPacks.Contains(segment.Packs[i].Name.Key)
                    ? null
                    : NumberOf(segment.Packs[i], segment.IsHearsay(segment.Packs[i]));
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
    private uint NumberOf(IndexedPack pack, bool isHearsay)
    {
        if (_numbers.TryGetValue((pack.Name, isHearsay), out var number))
            return number;
        number = (uint)_packs.Count;
        _packs.Add(pack);
        _hearsay.Add(isHearsay);
        _packChecks.Add(null);
        _numbers.Add((pack.Name, isHearsay), number);
        return number;
    }
}
