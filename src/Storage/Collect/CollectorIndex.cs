// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A pack as a collection sees it.</summary>
internal sealed class CollectorPack(PackName name, long size)
{
    public PackName Name { get; } = name;

    /// <summary>Bytes, as a segment or the listing says.</summary>
    public long Size { get; } = size;

    /// <summary>The store has it with that size.</summary>
    public bool IsPresent { get; set; }

    public bool IsQuarantined { get; set; }

    /// <summary>A segment that counts names it.</summary>
    public bool IsNamed { get; set; }

    public bool IsCondemned { get; set; }

    /// <summary>Live blobs that no index knows lie in it, as their nodes say: hands off.</summary>
    public bool IsHintedAt { get; set; }

    /// <summary>Order among packs: of several copies the one in the least counts.</summary>
    public int Rank { get; set; }

    /// <summary>Bytes of blobs that count as live here and in no other pack.</summary>
    public long Live { get; set; }

    public int LiveBlobs { get; set; }

    /// <summary>Bytes of blobs that are live, of which another pack has a copy that counts.</summary>
    public long Copies { get; set; }

    public bool IsUsable => IsPresent && !IsQuarantined;
}

/// <summary>
/// Every copy of every blob that counting segments name, with marks. Unlike a writer's index it takes nothing on trust: a segment that
/// can't be read ends the collection, and what a segment says of another run's pack counts only if that pack agrees. One caller.
/// </summary>
internal sealed class CollectorIndex(RepositoryContext context) : IDisposable
{
    private readonly BlobTable _table = new(keepsAll: true);
    private readonly Dictionary<PackName, uint> _numbers = [];
    private readonly List<CollectorPack> _packs = [];
    private readonly HashSet<string> _loaded = new(StringComparer.Ordinal);

    public BlobTable Table => _table;

    public IReadOnlyList<CollectorPack> Packs => _packs;

    public CollectorPack? Find(PackName name) => _numbers.TryGetValue(name, out var number) ? _packs[(int)number] : null;

    public uint NumberOf(PackName name) => _numbers[name];

    /// <summary>Makes room for about so many entries in all: growing later would need the old table and the new at once.</summary>
    public void Expect(long entries) => _table.Reserve(Math.Max(0, entries - _table.Count));

    /// <summary>Loads a segment once; its entries count beside those there are.</summary>
    /// <param name="segment">Its key, and its sha256 when a point names it.</param>
    /// <param name="origin">The run whose point names it; null for a folded one, whose entries were checked before.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="RepositoryDamagedException">It is missing or not what was written.</exception>
    public async Task LoadAsync(SegmentReference segment, RunId? origin, CancellationToken cancellationToken)
    {
        if (!_loaded.Add(segment.Key))
            return;
        var content = await CollectorSegments.ReadAsync(context, segment, cancellationToken);
        var accepted = await CollectorSegments.AcceptedAsync(context, content, origin, null, cancellationToken);
        _table.Reserve(content.Count);
        var numbers = new uint[content.Packs.Count];
        for (var i = 0; i < numbers.Length; i++)
            numbers[i] = accepted.Accepts(i) ? Number(content.Packs[i].Name, content.Packs[i].Size, isNamed: true) : uint.MaxValue;
        for (var i = 0; i < content.Count; i++)
        {
            var entry = content[i];
            if (accepted.Accepts(entry) && numbers[entry.Pack] != uint.MaxValue)
                _table.Set(entry with { Pack = numbers[entry.Pack] });
        }
    }

    /// <summary>Tells which packs the store has, those that no segment names too.</summary>
    public void SetPresent(IReadOnlyDictionary<PackName, long> listed, IReadOnlySet<string> quarantined)
    {
        foreach (var (name, size) in listed)
            Number(name, size, isNamed: false);
        foreach (var pack in _packs)
        {
            pack.IsPresent = listed.TryGetValue(pack.Name, out var size) && size == pack.Size;
            pack.IsQuarantined = quarantined.Contains(pack.Name.Key);
        }

        var ordered = _packs.OrderBy(pack => pack.Name.Run.ToString(), StringComparer.Ordinal)
            .ThenBy(pack => pack.Name.Key, StringComparer.Ordinal);
        foreach (var (rank, pack) in ordered.Index())
            pack.Rank = rank;
    }

    public void Condemn(IEnumerable<string> keys)
    {
        foreach (var key in keys)
        {
            if (PackName.TryParse(key) is { } name && Find(name) is { } pack)
                pack.IsCondemned = true;
        }
    }

    /// <summary>A live blob that no segment names may lie here.</summary>
    public void HintAt(PackName name)
    {
        if (Find(name) is { } pack)
            pack.IsHintedAt = true;
    }

    /// <summary>The slot of the copy of a blob in one pack, or -1.</summary>
    public long SlotOf(in BlobId id, uint pack)
    {
        for (var copy = 0; ; copy++)
        {
            var slot = _table.Find(in id, copy);
            if (slot < 0 || _table.Get(slot).Pack == pack)
                return slot;
        }
    }

    public void Dispose() => _table.Dispose();

    private uint Number(PackName name, long size, bool isNamed)
    {
        if (!_numbers.TryGetValue(name, out var number))
        {
            number = (uint)_packs.Count;
            _packs.Add(new CollectorPack(name, size));
            _numbers.Add(name, number);
        }

        _packs[(int)number].IsNamed |= isNamed;
        return number;
    }
}
