// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>The objects themselves: each call is one instant, as a linearizable store promises per key.</summary>
internal sealed class ObjectTable(SimulatedClock clock)
{
    private readonly Dictionary<string, Entry> _objects = new(StringComparer.Ordinal);

    public IEnumerable<string> Keys => _objects.Keys;

    public long Bytes => _objects.Values.Sum(entry => (long)entry.Content.Length);

    public bool TryCreate(string key, byte[] content) => _objects.TryAdd(key, new Entry(content, clock.Now));

    public bool Delete(string key) => _objects.Remove(key);

    public bool Has(string key) => _objects.ContainsKey(key);

    public ObjectInfo? Head(string key) =>
        _objects.TryGetValue(key, out var entry) ? new ObjectInfo(key, entry.Content.Length, entry.Created) : null;

    public byte[]? Read(string key) => _objects.GetValueOrDefault(key)?.Content;

    /// <summary>The next objects of a listing in the order of that listing, after <paramref name="after"/>; what is created or deleted
    /// between two pages is seen or not, what stays all the while is seen.</summary>
    public List<(uint Order, ObjectInfo Info)> Page(string prefix, uint salt, (uint Order, string Key) after, int count)
    {
        var page = new List<(uint Order, ObjectInfo Info)>();
        foreach (var (key, entry) in _objects)
        {
            if (!key.StartsWith(prefix, StringComparison.Ordinal))
                continue;
            var order = OrderOf(key, salt);
            if (order > after.Order || (order == after.Order && string.CompareOrdinal(key, after.Key) > 0))
                page.Add((order, new ObjectInfo(key, entry.Content.Length, entry.Created)));
        }

        page.Sort((left, right) => left.Order != right.Order
            ? left.Order.CompareTo(right.Order)
            : string.CompareOrdinal(left.Info.Key, right.Info.Key));
        if (page.Count > count)
            page.RemoveRange(count, page.Count - count);
        return page;
    }

    // Salt 0: by key, as a bucket lists; another one: the arbitrary order of a folder.
    private static uint OrderOf(string key, uint salt)
    {
        if (salt == 0)
            return 1;
        var hash = salt;
        foreach (var letter in key)
            hash = (hash ^ letter) * 16777619;
        return Math.Max(hash, 1);
    }

    private sealed record Entry(byte[] Content, DateTimeOffset Created);
}
