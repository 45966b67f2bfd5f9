// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using Tidemark.Lab;

namespace Tidemark.Bench;

/// <summary>Writes docs/benchmarks.md. Of this machine it names what numbers depend on, and nothing that identifies it.</summary>
internal static class Document
{
    private static readonly string[] Packages =
        ["virtnbdbackup", "restic", "libnbd-bin", "qemu-system-x86", "libvirt-daemon", "libzstd1", "radosgw"];

    /// <summary>The largest resident set of all rows.</summary>
    public static Result MemoryRow(Results results)
    {
        var (work, bytes) = results.Memory.MaxBy(entry => entry.Value);
        return new Result("peak memory of any of these", 300, bytes / 1e6, bytes / 1e6, "MB", work);
    }

    /// <summary>Writes the results; an existing document keeps its lines of what was not measured now.</summary>
    public static async Task WriteAsync(Bench bench, string path)
    {
        var old = File.Exists(path) ? await File.ReadAllLinesAsync(path, bench.Token) : [];
        var text = new StringBuilder();
        text.AppendLine("# Benchmarks");
        text.AppendLine("Written by `./bench/run`, which measures both sides of every ratio in turns on one machine. Repositories are");
        text.AppendLine("encrypted, compressed and deduplicated, and everything is synced to disk; the sources are in the page cache.");
        text.AppendLine("Before each run against virtnbdbackup the machine rests ten seconds, except where it says back to back.");
        text.AppendLine();
        text.AppendLine("| work | at most | median | best | runs |");
        text.AppendLine("|---|---|---|---|---|");
        var rows = bench.Results.All.Select(row => $"| {row.Work} | {Number(row.Limit, row.Unit)} | {Number(row.Median, row.Unit)}"
            + $"{(row.IsKept ? "" : " (missed)")} | {Number(row.Best, row.Unit)} | {row.Detail} |");
        AppendMerged(text, old.Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1), rows, " | ");
        text.AppendLine();
        AppendMerged(text, old.Where(line => line.StartsWith("- ", StringComparison.Ordinal)),
            bench.Results.Notes.Select(note => $"- {note}"), ":");
        text.AppendLine();
        text.AppendLine("The test disk: 10 GiB with an ext4 that holds about 3 GB of a `/usr` tree (`bench/usr-image`).");
        var kernel = (await File.ReadAllTextAsync("/proc/sys/kernel/osrelease", bench.Token)).Trim().Split('-')[0];
        text.AppendLine($"The machine: {Environment.ProcessorCount} cores, Linux {kernel}, {DateTime.UtcNow:yyyy-MM-dd}; "
            + $"{await VersionsAsync(bench.Token)}.");
        var load = (await File.ReadAllTextAsync("/proc/loadavg", bench.Token)).Split(' ');
        text.AppendLine($"Its load average at the end, over 5 and 15 minutes: {load[1]} and {load[2]}; about 2 are the bench's own.");
        text.AppendLine("What else runs bends the ratios of wall time against the side that uses several cores.");
        await File.WriteAllTextAsync(path, text.ToString(), bench.Token);
    }

    // Lines that begin alike are about the same: the new one takes the old one's place.
    private static void AppendMerged(StringBuilder text, IEnumerable<string> old, IEnumerable<string> measured, string end)
    {
        var merged = old.ToList();
        foreach (var line in measured)
        {
            var at = merged.FindIndex(known => known.Split(end)[0] == line.Split(end)[0]);
            if (at >= 0)
                merged[at] = line;
            else
                merged.Add(line);
        }

        foreach (var line in merged)
            text.AppendLine(line);
    }

    private static string Number(double value, string unit) => unit switch
    {
        "x" => value.ToString("0.00", CultureInfo.InvariantCulture) + " ×",
        "" => value.ToString("0", CultureInfo.InvariantCulture),
        "MB" => value.ToString("0", CultureInfo.InvariantCulture) + " MB",
        _ => value.ToString("0.00", CultureInfo.InvariantCulture) + " " + unit,
    };

    private static async Task<string> VersionsAsync(CancellationToken cancellationToken)
    {
        var found = await Tool.RunAsync("dpkg-query", ["-W", "-f", "${Package} ${Version}, ", .. Packages], cancellationToken);
        return found.TrimEnd(' ', ',');
    }
}
