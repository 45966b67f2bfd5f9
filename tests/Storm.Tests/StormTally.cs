// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storm.Tests;

/// <summary>What one or many storms came to.</summary>
internal sealed class StormTally
{
    private readonly SortedDictionary<string, (int Done, int Refused)> _operations = new(StringComparer.Ordinal);

    /// <summary>Disks in backups; of these, such that nothing had happened to that needs a full read; of these, incremental ones.</summary>
    public int Disks { get; private set; }

    public int Benign { get; private set; }

    public int Incremental { get; private set; }

    /// <summary>Disks that were restored and compared.</summary>
    public int Compared { get; set; }

    public void CountOperation(string name, bool refused)
    {
        var (done, refusals) = _operations.GetValueOrDefault(name);
        _operations[name] = refused ? (done, refusals + 1) : (done + 1, refusals);
    }

    public void CountDisk(bool benign, bool incremental)
    {
        Disks++;
        Benign += benign ? 1 : 0;
        Incremental += benign && incremental ? 1 : 0;
    }

    public void Add(StormTally other)
    {
        Disks += other.Disks;
        Benign += other.Benign;
        Incremental += other.Incremental;
        Compared += other.Compared;
        foreach (var (name, (done, refused)) in other._operations)
        {
            var (before, refusedBefore) = _operations.GetValueOrDefault(name);
            _operations[name] = (before + done, refusedBefore + refused);
        }
    }

    public override string ToString() =>
        $"{Disks} disks backed up, {Benign} of them after benign operations only, {Incremental} of these incremental; "
        + $"{Compared} disks restored and compared. "
        + string.Join(", ", _operations.Select(entry =>
            $"{entry.Key} {entry.Value.Done}{(entry.Value.Refused == 0 ? "" : $" (refused {entry.Value.Refused})")}"));
}
