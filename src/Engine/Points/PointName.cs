// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Engine.Points;

/// <summary>
/// Finds the restore point a user means: <c>MACHINE@latest</c>, <c>MACHINE@PREFIX</c>, <c>MACHINE@TIME</c> (the newest at or
/// before it; UTC unless it carries an offset) or <c>PREFIX</c> of its id. MACHINE is a name, a UUID or <c>HOST/NAME</c>.
/// </summary>
public static class PointName
{
    private static readonly string[] TimeFormats =
    [
        "yyyy-MM-dd", "yyyy-MM-ddTHH:mm", "yyyy-MM-ddTHH:mm:ss", "yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm:ss",
        "yyyy-MM-ddTHH:mmK", "yyyy-MM-ddTHH:mm:ssK", "yyyy-MM-ddTHH:mm:ss.FFFFFFFK",
    ];

    /// <exception cref="EngineException">Nothing or more than one thing fits; the message lists the candidates.</exception>
    public static PointInfo Resolve(string text, IReadOnlyList<PointInfo> points)
    {
        var at = text.LastIndexOf('@');
        if (at < 0)
            return ByPrefix(text, points, text);
        var ofMachine = OfMachine(text[..at], points);
        var selector = text[(at + 1)..];
        if (selector == "latest")
            return ofMachine[^1];
        if (TryTime(selector, out var time))
        {
            return ofMachine.LastOrDefault(point => point.Time <= time) ?? throw EngineException.Usage(
                $"No restore point of '{text[..at]}' is at or before '{selector}'; the oldest is of {Show(ofMachine[0])}.",
                $"tidemark list {text[..at]}");
        }

        return ByPrefix(selector, ofMachine, text);
    }

    /// <summary>All points of the machine a user means, newest last.</summary>
    /// <exception cref="EngineException">No machine fits, or several do.</exception>
    public static IReadOnlyList<PointInfo> OfMachine(string machine, IReadOnlyList<PointInfo> points)
    {
        var fitting = points.Where(point => Fits(machine, point)).ToList();
        if (fitting.Count == 0)
            throw EngineException.Usage($"The repository has no restore point of a machine '{machine}'.", "tidemark list");
        var machines = fitting.DistinctBy(point => point.MachineUuid, StringComparer.Ordinal).ToList();
        if (machines.Count > 1)
        {
            var candidates = machines.Select(point => $"{point.Host}/{point.Machine} ({point.MachineUuid})");
            throw EngineException.Usage(
                $"'{machine}' fits {machines.Count} machines: {string.Join(", ", candidates)}.", "name it by its UUID or as HOST/NAME");
        }

        return fitting.OrderBy(point => point.Seq).ThenBy(point => point.Time).ToList();
    }

    private static bool Fits(string machine, PointInfo point)
    {
        if (machine == point.Machine || machine.Equals(point.MachineUuid, StringComparison.OrdinalIgnoreCase))
            return true;
        return machine == $"{point.Host}/{point.Machine}";
    }

    private static PointInfo ByPrefix(string prefix, IReadOnlyList<PointInfo> points, string text)
    {
        var fitting = prefix.Length == 0
            ? []
            : points.Where(point => point.Id.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)).ToList();
        if (fitting.Count == 1)
            return fitting[0];
        if (fitting.Count > 1)
        {
            throw EngineException.Usage(
                $"'{text}' fits {fitting.Count} restore points: {string.Join(", ", fitting.Take(8).Select(Show))}.",
                "give more digits of the id");
        }

        var machine = points.FirstOrDefault(point => Fits(text, point))?.Machine;
        throw machine is null
            ? EngineException.Usage($"There is no restore point '{text}'.", "tidemark list")
            : EngineException.Usage($"'{text}' is a machine, not one of its restore points.", $"did you mean {machine}@latest?");
    }

    private static bool TryTime(string text, out DateTimeOffset time) => DateTimeOffset.TryParseExact(
        text,
        TimeFormats,
        CultureInfo.InvariantCulture,
        DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal,
        out time);

    private static string Show(PointInfo point) => string.Create(
        CultureInfo.InvariantCulture, $"{point.Machine}@{point.Id} {point.Time.UtcDateTime:yyyy-MM-ddTHH:mm:ss}");
}
