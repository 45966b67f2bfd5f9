// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// The checkpoints of one machine, ours and foreign ones, as the tree that their parents make. Pure: nothing here touches a machine.
/// A bitmap gets every write from the moment its checkpoint is made, whatever comes after it: so a checkpoint's own bitmap holds all
/// changes since, and that of an ancestor holds them too, and more.
/// </summary>
public sealed class CheckpointTree
{
    private readonly Dictionary<string, CheckpointRecord> _records;
    private readonly ILookup<string, CheckpointRecord> _children;

    private CheckpointTree(IReadOnlyList<CheckpointRecord> records)
    {
        _records = records.ToDictionary(record => record.Name, StringComparer.Ordinal);
        _children = records.ToLookup(record => record.Parent ?? "", StringComparer.Ordinal);
        Records = Sort(_records, _children);
    }

    /// <summary>Parents before their children; among those that could come next the oldest first, then by name.</summary>
    public IReadOnlyList<CheckpointRecord> Records { get; }

    public IEnumerable<CheckpointRecord> Roots => Records.Where(record => record.Parent is null);

    /// <exception cref="EngineException">The records make no tree.</exception>
    public static CheckpointTree Of(IEnumerable<CheckpointRecord> records)
    {
        var all = records.ToList();
        return FindProblem(all) is { } problem ? throw EngineException.Failed(problem) : new CheckpointTree(all);
    }

    /// <summary>The tree of records that come from several places: of two with one name the last counts, and one whose parent is
    /// unknown, or among its own descendants, is a root.</summary>
    public static CheckpointTree Mend(IEnumerable<CheckpointRecord> records)
    {
        var known = new Dictionary<string, CheckpointRecord>(StringComparer.Ordinal);
        foreach (var record in records.Where(record => record.Name.Length > 0))
            known[record.Name] = record;
        foreach (var record in known.Values.Where(record => record.Parent is { } parent && !known.ContainsKey(parent)).ToList())
            known[record.Name] = record with { Parent = null };
        while (FirstInCircle(known) is { } turning)
            known[turning.Name] = turning with { Parent = null };
        return new CheckpointTree([.. known.Values]);
    }

    /// <summary>What is wrong with records that should make a tree, as a sentence; null when nothing is.</summary>
    public static string? FindProblem(IReadOnlyCollection<CheckpointRecord> records)
    {
        var known = new Dictionary<string, CheckpointRecord>(StringComparer.Ordinal);
        foreach (var record in records)
        {
            if (record.Name.Length == 0)
                return "A checkpoint without a name is listed.";
            if (!known.TryAdd(record.Name, record))
                return $"Checkpoint '{record.Name}' is listed twice.";
        }

        foreach (var record in records)
        {
            if (record.Parent is { } parent && !known.ContainsKey(parent))
                return $"Checkpoint '{record.Name}' has the parent '{parent}', which is not listed.";
        }

        return FirstInCircle(known) is { } turning ? $"Checkpoint '{turning.Name}' is listed as its own ancestor." : null;
    }

    public CheckpointRecord? Find(string name) => _records.GetValueOrDefault(name);

    public IEnumerable<CheckpointRecord> ChildrenOf(string name) => name.Length == 0 ? [] : _children[name];

    /// <summary>The checkpoint itself, its parent, and so on up to a root; nothing for an unknown name.</summary>
    public IEnumerable<CheckpointRecord> UpFrom(string name)
    {
        for (var at = Find(name); at is not null; at = at.Parent is { } parent ? Find(parent) : null)
            yield return at;
    }

    /// <summary>Everything below a checkpoint, parents first.</summary>
    public IReadOnlyList<CheckpointRecord> DescendantsOf(string name)
    {
        var below = new HashSet<string>(StringComparer.Ordinal) { name };
        return Records.Where(record => record.Parent is { } parent && below.Contains(parent) && below.Add(record.Name)).ToList();
    }

    /// <summary>The tree with one more checkpoint.</summary>
    /// <exception cref="EngineException">Its name is taken, or its parent unknown.</exception>
    public CheckpointTree With(CheckpointRecord record) => Of([.. Records, record]);

    /// <summary>The tree without a checkpoint: its children become its parent's.</summary>
    public CheckpointTree Without(string name) => Find(name) is not { } gone
        ? this
        : new CheckpointTree(Records.Where(record => record != gone)
            .Select(record => record.Parent == name ? record with { Parent = gone.Parent } : record).ToList());

    /// <summary>
    /// The checkpoint whose bitmap holds every change between two points in time: the nearest common ancestor of both that can be used,
    /// themselves included. It may name more than what changed, never less, as long as children were made after their parents.
    /// </summary>
    /// <param name="from">A checkpoint.</param>
    /// <param name="to">Another one; null is now.</param>
    /// <param name="usable">Whether a checkpoint's bitmap is there and whole.</param>
    public CheckpointRecord? Covering(string from, string? to, Func<CheckpointRecord, bool> usable)
    {
        var common = UpFrom(from);
        if (to is not null)
        {
            var others = UpFrom(to).Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
            common = common.Where(record => others.Contains(record.Name));
        }

        return common.FirstOrDefault(usable);
    }

    private static List<CheckpointRecord> Sort(
        Dictionary<string, CheckpointRecord> records, ILookup<string, CheckpointRecord> children)
    {
        var next = new PriorityQueue<CheckpointRecord, (DateTimeOffset Created, string Name)>(
            Comparer<(DateTimeOffset Created, string Name)>.Create((one, other) =>
                one.Created != other.Created ? one.Created.CompareTo(other.Created) : string.CompareOrdinal(one.Name, other.Name)));
        foreach (var root in records.Values.Where(record => record.Parent is null))
            next.Enqueue(root, (root.Created, root.Name));
        var sorted = new List<CheckpointRecord>(records.Count);
        while (next.TryDequeue(out var record, out _))
        {
            sorted.Add(record);
            foreach (var child in children[record.Name])
                next.Enqueue(child, (child.Created, child.Name));
        }

        return sorted;
    }

    // All parents are known. Follows parents from each record; one that was not settled by an earlier walk and comes again closes a circle.
    private static CheckpointRecord? FirstInCircle(Dictionary<string, CheckpointRecord> records)
    {
        var settled = new HashSet<string>(StringComparer.Ordinal);
        foreach (var start in records.Values)
        {
            var walk = new HashSet<string>(StringComparer.Ordinal);
            for (var at = start; at is not null; at = at.Parent is { } parent ? records[parent] : null)
            {
                if (settled.Contains(at.Name))
                    break;
                if (!walk.Add(at.Name))
                    return at;
            }

            settled.UnionWith(walk);
        }

        return null;
    }
}
