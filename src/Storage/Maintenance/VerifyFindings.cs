// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;

namespace Tidemark.Storage;

/// <summary>What a verification has found out so far. Safe for several threads, but for <see cref="Packs"/>.</summary>
internal sealed class VerifyFindings
{
    private const int MaxUnread = 100; // more: the store is broken, not a pack
    private readonly ConcurrentDictionary<string, string> _damage = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<BlobId, string> _blobs = [];
    private readonly ConcurrentDictionary<string, string> _unread = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, byte> _sound = new(StringComparer.Ordinal);

    /// <summary>Packs listed, and those found since, with their sizes.</summary>
    public Dictionary<string, long> Packs { get; } = new(StringComparer.Ordinal);

    /// <summary>Quarantined packs, once they were read.</summary>
    public IReadOnlyDictionary<string, QuarantinedPack> Recorded { get; set; } =
        new Dictionary<string, QuarantinedPack>(StringComparer.Ordinal);

    /// <summary>Damaged objects, each with a sentence.</summary>
    public IReadOnlyDictionary<string, string> Damage => _damage;

    /// <summary>Blobs that no copy opened, by the pack where they were expected.</summary>
    public IReadOnlyDictionary<BlobId, string> Blobs => _blobs;

    /// <summary>Objects that the store would not read, each with its reason.</summary>
    public IReadOnlyDictionary<string, string> Unread => _unread;

    /// <summary>Packs whose hash was found right now: old records of damage to them do not count.</summary>
    public ICollection<string> Sound => _sound.Keys;

    public bool IsSound(string pack) => _sound.ContainsKey(pack);

    public void AddSound(string pack) => _sound[pack] = 0;

    /// <summary>Damage to the object that <paramref name="damage"/> names; the last word counts.</summary>
    public void Add(RepositoryDamagedException damage) => Add(damage.DamagedObject, damage.Message);

    public void Add(string key, string problem)
    {
        _damage[key] = problem;
        _sound.TryRemove(key, out _);
    }

    /// <summary>A blob that no copy opened; what was said of its pack before stays.</summary>
    public void AddBlob(BlobId id, RepositoryDamagedException damage)
    {
        _blobs[id] = damage.DamagedObject;
        _damage.TryAdd(damage.DamagedObject, damage.Message);
    }

    /// <summary>A pack that is damaged by its record, if nothing newer was said of it.</summary>
    public void AddRecorded(string pack, string problem) => _damage.TryAdd(pack, problem);

    /// <summary>An object that can't be read (a bad sector, say): the rest is looked at all the same (I20).</summary>
    /// <exception cref="StoreException">There are too many of them.</exception>
    public void AddUnread(string key, StoreException failure)
    {
        if (_unread.Count >= MaxUnread && !_unread.ContainsKey(key))
            throw new StoreException($"More than {MaxUnread} objects can't be read, the last: {failure.Message}", false, failure);
        _unread.TryAdd(key, failure.Message);
        _sound.TryRemove(key, out _);
    }

    /// <summary>Takes back all damage but this.</summary>
    public void Reset(IEnumerable<KeyValuePair<string, string>> damage)
    {
        _damage.Clear();
        foreach (var (key, problem) in damage)
            _damage[key] = problem;
    }
}
