// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Engine.Care;

/// <summary>
/// Decides which restore points stay. A pure function. Clocks of hosts are not trusted: a point's time counts only as far as it is not
/// later than the store got it, and not earlier than that of the point before it.
/// </summary>
public static class RetentionPlanner
{
    private static readonly (string Name, Func<RetentionPolicy, int> Count, Func<DateTimeOffset, string> Bucket)[] Rules =
    [
        ("hourly", policy => policy.Hourly, time => Format(time, "yyyy-MM-dd HH'h'")),
        ("daily", policy => policy.Daily, time => Format(time, "yyyy-MM-dd")),
        ("weekly", policy => policy.Weekly, time => "week of " + Format(Monday(time), "yyyy-MM-dd")),
        ("monthly", policy => policy.Monthly, time => Format(time, "yyyy-MM")),
        ("yearly", policy => policy.Yearly, time => Format(time, "yyyy")),
    ];

    /// <summary>A decision for each point, by machine and host, oldest first.</summary>
    public static IReadOnlyList<RetentionDecision> Plan(RetentionPolicy policy, IReadOnlyList<RetentionPoint> points)
    {
        var newest = points.Select(point => point.Stored).DefaultIfEmpty(DateTimeOffset.MinValue).Max();
        var decisions = new List<RetentionDecision>(points.Count);
        foreach (var group in points.GroupBy(point => (point.Machine, point.Writer)).OrderBy(group => group.Key))
        {
            var ordered = group.OrderBy(point => point.Seq).ThenBy(point => point.Id, StringComparer.Ordinal).ToArray();
            decisions.AddRange(PlanGroup(policy, ordered, newest));
        }

        return decisions;
    }

    private static IEnumerable<RetentionDecision> PlanGroup(RetentionPolicy policy, RetentionPoint[] points, DateTimeOffset newest)
    {
        var reasons = points.Select(_ => new List<string>()).ToArray();
        for (var i = 0; i < points.Length; i++)
        {
            var point = points[i];
            if (point.IsProtected)
                reasons[i].Add("protected");
            if (point.IsBase)
                reasons[i].Add("the next backup starts from it");
            foreach (var (key, value) in policy.Tags.Where(tag => point.Tags.TryGetValue(tag.Key, out var found) && found == tag.Value))
                reasons[i].Add($"tag {key}={value}");
            if (policy.Within is { } within && newest - point.Stored <= within)
                reasons[i].Add("recent");
            if (i >= points.Length - policy.Last)
                reasons[i].Add($"last {points.Length - i}");
        }

        reasons[^1].Insert(0, "newest");
        var times = Times(points);
        foreach (var (name, count, bucket) in Rules)
        {
            var left = count(policy);
            string? last = null;
            for (var i = points.Length - 1; i >= 0 && left > 0; i--)
            {
                var current = bucket(times[i]);
                if (current == last)
                    continue;
                reasons[i].Add($"{name} {current}");
                last = current;
                left--;
            }
        }

        return points.Select((point, i) => new RetentionDecision(point, reasons[i]));
    }

    private static DateTimeOffset[] Times(RetentionPoint[] points)
    {
        var times = new DateTimeOffset[points.Length];
        for (var i = 0; i < points.Length; i++)
        {
            var time = points[i].Time < points[i].Stored ? points[i].Time : points[i].Stored;
            times[i] = i > 0 && time < times[i - 1] ? times[i - 1] : time;
        }

        return times;
    }

    private static DateTimeOffset Monday(DateTimeOffset time)
    {
        var day = new DateTimeOffset(time.UtcDateTime.Date, TimeSpan.Zero);
        var since = ((int)day.DayOfWeek + 6) % 7;
        return day - DateTimeOffset.MinValue < TimeSpan.FromDays(since) ? DateTimeOffset.MinValue : day.AddDays(-since);
    }

    private static string Format(DateTimeOffset time, string format) => time.UtcDateTime.ToString(format, CultureInfo.InvariantCulture);
}
