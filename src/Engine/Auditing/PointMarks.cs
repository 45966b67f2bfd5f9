// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Storage;

namespace Tidemark.Engine.Auditing;

/// <summary>
/// Restore points are never changed: that one may lack changes is said by the later points whose run found it out, and by labels, and is
/// brought together with it here, wherever points are shown, restored, verified or copied. Points are told apart by their order among
/// those that came the same way (made here, or copied from one repository), and by their instant, which those brought back share.
/// </summary>
internal static class PointMarks
{
    private const int MostNamed = 8;

    /// <summary>The same points, in the same order, with <see cref="PointDisk.Doubt"/> set where any of them says so.</summary>
    public static IReadOnlyList<RestorePoint> Mark(IReadOnlyList<RestorePoint> points)
    {
        var disks = points.SelectMany(point => point.Disks.Select(disk => (Point: point, Disk: disk))).ToList();
        var ranges = disks.Where(one => one.Disk.Missed is { Count: > 0 })
            .SelectMany(one => one.Disk.Missed!.Select(range => (Key: KeyOf(one.Point, one.Disk), Range: range)))
            .Distinct().ToLookup(one => one.Key, one => one.Range);
        var doubts = new Dictionary<(MachineId Machine, string Disk, DateTimeOffset Time), DiskDoubt>();
        foreach (var (point, disk) in disks)
        {
            Doubt(point, disk.Name, point.Time, DiskDoubt.Worse(disk.Doubt, Missed.Judge(ranges[KeyOf(point, disk)], point, disk)));
            foreach (var suspect in disk.Suspects ?? [])
                Doubt(point, disk.Name, suspect.Time, new DiskDoubt(suspect.Since, suspect.Found));
        }

        return doubts.Count == 0 ? points : points.Select(point => point with
        {
            Disks = point.Disks.Select(disk => doubts.TryGetValue((point.MachineId, disk.Name, point.Time), out var doubt)
                ? disk with { Doubt = doubt }
                : disk).ToList(),
        }).ToList();

        void Doubt(RestorePoint point, string disk, DateTimeOffset time, DiskDoubt? doubt)
        {
            var key = (point.MachineId, disk, time);
            if (doubt is not null)
                doubts[key] = DiskDoubt.Worse(doubts.GetValueOrDefault(key), doubt)!;
        }
    }

    /// <summary>A sentence for each disk of a point that may lack changes.</summary>
    public static IEnumerable<string> Sentences(IEnumerable<PointDisk> disks) =>
        disks.Where(disk => disk.Doubt is not null).Select(Sentence);

    /// <param name="disk">One that may lack changes.</param>
    public static string Sentence(PointDisk disk) => disk.Doubt is not { } doubt
        ? throw new ArgumentException($"Disk '{disk.Name}' is not doubted.", nameof(disk))
        : $"Disk '{disk.Name}' may lack changes {Since(doubt.Since)}: the backup of {Text(doubt.Found)} found some that no bitmap had "
            + "named.";

    /// <summary>What a run that found it out says of earlier points, by their short ids.</summary>
    public static string Sentence(string disk, IReadOnlyList<string> points, DateTimeOffset? since) =>
        $"Disk '{disk}' may lack changes {Since(since)} in {points.Count} earlier restore points: "
        + $"{string.Join(", ", points.TakeLast(MostNamed))}{(points.Count > MostNamed ? " and older ones" : "")}.";

    private static (MachineId Machine, string Disk, string? From) KeyOf(RestorePoint point, PointDisk disk) =>
        (point.MachineId, disk.Name, point.Copied?.Repository);

    private static string Since(DateTimeOffset? since) => since is { } time ? $"made since {Text(time)}" : "made at any time";

    private static string Text(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);
}
