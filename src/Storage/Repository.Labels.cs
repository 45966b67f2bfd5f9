// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>What people said about a point after it was made (docs/format.md section 8).</summary>
/// <param name="Tags">Tags set since.</param>
/// <param name="Removed">Tags of the point itself that no longer count.</param>
/// <param name="Protect">Not to be deleted.</param>
/// <param name="Until">How long; null for ever.</param>
public sealed record PointLabel(
    IReadOnlyDictionary<string, string> Tags, IReadOnlyList<string> Removed, bool Protect, DateTimeOffset? Until)
{
    /// <summary>Disks that may lack changes. What was said once stays: no later label takes it away.</summary>
    public IReadOnlyDictionary<string, DiskDoubt> Doubts { get; init; } = new Dictionary<string, DiskDoubt>(StringComparer.Ordinal);

    public static PointLabel None { get; } = new(new Dictionary<string, string>(StringComparer.Ordinal), [], false, null);

    /// <summary>Whether the point is protected at a time.</summary>
    public bool IsProtectedAt(DateTimeOffset now) => Protect && (Until is null || Until > now);

    /// <summary>This label with a tag set, or taken away when <paramref name="value"/> is null.</summary>
    public PointLabel With(string tag, string? value)
    {
        var tags = Tags.Where(pair => pair.Key != tag).ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal);
        if (value is not null)
            tags[tag] = value;
        var others = Removed.Where(name => name != tag);
        string[] removed = value is null ? [.. others, tag] : [.. others];
        return this with { Tags = tags, Removed = removed };
    }

    /// <summary>This label with more disks that may lack changes.</summary>
    public PointLabel With(IEnumerable<KeyValuePair<string, DiskDoubt>> doubts)
    {
        var all = Doubts.ToDictionary(StringComparer.Ordinal);
        foreach (var (disk, doubt) in doubts)
            all[disk] = DiskDoubt.Worse(all.GetValueOrDefault(disk), doubt)!;
        return this with { Doubts = all };
    }

    /// <summary>A point's disks with what this label says of them.</summary>
    internal IReadOnlyList<PointDisk> Over(IReadOnlyList<PointDisk> disks) => Doubts.Count == 0 ? disks :
        [.. disks.Select(disk => disk with { Doubt = DiskDoubt.Worse(disk.Doubt, Doubts.GetValueOrDefault(disk.Name)) })];

    /// <summary>A point's own tags ("K=V") with this label on top.</summary>
    internal IReadOnlyList<string> Over(IReadOnlyList<string> own) =>
    [
        .. own.Where(tag => NameOf(tag) is var name && !Tags.ContainsKey(name) && !Removed.Contains(name, StringComparer.Ordinal)),
        .. Tags.OrderBy(tag => tag.Key, StringComparer.Ordinal).Select(tag => $"{tag.Key}={tag.Value}"),
    ];

    private static string NameOf(string tag) => tag.IndexOf('=', StringComparison.Ordinal) is var at and >= 0 ? tag[..at] : tag;
}

public sealed partial class Repository
{
    private const int LabelTries = 100; // each lost to someone else's label of the same point
    private readonly ConcurrentDictionary<string, PointLabel> _labels = new(StringComparer.Ordinal);

    /// <summary>Changes the label of a point; of changes at the same time each is applied to the result of the other.</summary>
    /// <exception cref="StoreUnsuitableException">The store is for another writer only.</exception>
    public async Task<PointLabel> LabelAsync(
        MachineId machine, RunId run, Func<PointLabel, PointLabel> change, CancellationToken cancellationToken)
    {
        RefuseSecondWriter();
        var suffix = $"{machine}/{run}";
        for (var attempt = 0; attempt < LabelTries; attempt++)
        {
            var number = (await NewestLabelsAsync(machine + "/", cancellationToken)).GetValueOrDefault(suffix);
            var (label, _) = await ReadLabelsAsync(machine, run, number, cancellationToken);
            var next = change(label);
            var document = new LabelDocument
            {
                Tags = next.Tags,
                Removed = next.Removed,
                Protect = next.Protect,
                Until = next.Until,
                Doubts = next.Doubts.Count == 0 ? null : next.Doubts,
            };
            var key = ObjectNames.Label(machine, run, number + 1);
            var content = _context.Close(key, JsonSerializer.SerializeToUtf8Bytes(document, FormatJson.Default.LabelDocument));
            if (await _context.Store.PutIfAbsentAsync(key, content, cancellationToken))
                return next;
        }

        throw new StoreException(
            $"The label of restore point '{run.ShortId}' was changed {LabelTries} times meanwhile.", isTransient: true);
    }

    /// <summary>What is said about a point now, whether it can be read or not.</summary>
    public async Task<PointLabel> LabelOfAsync(MachineId machine, RunId run, CancellationToken cancellationToken)
    {
        var number = (await NewestLabelsAsync(machine + "/", cancellationToken)).GetValueOrDefault($"{machine}/{run}");
        return (await ReadLabelsAsync(machine, run, number, cancellationToken)).Label;
    }

    /// <summary>The greatest number of a label by "vmid/rid". Each was made after the one before, so none counts after a gap.</summary>
    private async Task<Dictionary<string, int>> NewestLabelsAsync(string scope, CancellationToken cancellationToken)
    {
        var numbers = new Dictionary<string, HashSet<int>>(StringComparer.Ordinal);
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Labels + scope, cancellationToken))
        {
            if (ObjectNames.ParseLabel(info.Key) is not { } label)
                continue;
            if (!numbers.TryGetValue(label.Point, out var found))
                numbers.Add(label.Point, found = []);
            found.Add(label.Number);
        }

        return numbers.ToDictionary(
            pair => pair.Key, pair => Enumerable.Range(1, pair.Value.Count).TakeWhile(pair.Value.Contains).Count(), StringComparer.Ordinal);
    }

    // The newest that can be read counts; but a program that does not know of doubts leaves them out when it labels a point. What those say
    // that are newer and damaged is not known: they may protect the point.
    private async ValueTask<(PointLabel Label, IReadOnlyList<RepositoryDamagedException> Damaged)> ReadLabelsAsync(
        MachineId machine, RunId run, int newest, CancellationToken cancellationToken)
    {
        PointLabel? label = null;
        var damaged = new List<RepositoryDamagedException>();
        for (var number = newest; number > 0; number--)
        {
            try
            {
                var read = await ReadLabelAsync(machine, run, number, cancellationToken);
                label = label?.With(read.Doubts) ?? read;
            }
            catch (RepositoryDamagedException failure)
            {
                if (label is null)
                    damaged.Add(failure);
            }
        }

        label ??= PointLabel.None;
        return (damaged.Count == 0 ? label : label with { Protect = true, Until = null }, damaged);
    }

    private async ValueTask<PointLabel> ReadLabelAsync(MachineId machine, RunId run, int number, CancellationToken cancellationToken)
    {
        var key = ObjectNames.Label(machine, run, number);
        if (_labels.TryGetValue(key, out var known))
            return known;
        if (await _context.ReadSealedAsync(key, cancellationToken) is not { } plain)
            return PointLabel.None; // the point went, and its labels with it
        try
        {
            var document = FormatJson.Read(plain, FormatJson.Default.LabelDocument);
            return _labels[key] = new PointLabel(document.Tags, document.Removed, document.Protect, document.Until)
                .With(document.Doubts ?? new Dictionary<string, DiskDoubt>(StringComparer.Ordinal));
        }
        catch (JsonException failure)
        {
            throw new RepositoryDamagedException(key, "a label", failure.Message, failure);
        }
    }

    private async ValueTask<(RestorePoint Point, IReadOnlyList<RepositoryDamagedException> Damaged)> LabelledAsync(
        RestorePoint point, ObjectInfo info, Dictionary<string, int> labels, CancellationToken cancellationToken)
    {
        point = point with { Stored = info.Modified };
        if (!labels.TryGetValue(info.Key[ObjectNames.Points.Length..], out var number))
            return (point, []);
        var (label, damaged) = await ReadLabelsAsync(point.MachineId, point.Id, number, cancellationToken);
        return (point with { Label = label, Tags = label.Over(point.Tags), Disks = label.Over(point.Disks) }, damaged);
    }
}
