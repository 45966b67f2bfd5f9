// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Bench;

/// <summary>One line of the table: what was asked, what was measured.</summary>
/// <param name="Work">What was done, and against whom.</param>
/// <param name="Limit">The most it may be.</param>
/// <param name="Best">The smallest of the runs.</param>
/// <param name="Median">The median of the runs.</param>
/// <param name="Unit">"x", "s", "MB", or nothing for a count.</param>
/// <param name="Detail">The numbers behind it.</param>
internal sealed record Result(string Work, double Limit, double Best, double Median, string Unit, string Detail)
{
    public bool IsKept => Median <= Limit;
}

/// <summary>Collects the results, and says each as it comes.</summary>
internal sealed class Results(TextWriter output)
{
    private readonly List<Result> _all = [];
    private readonly Dictionary<string, long> _memory = new(StringComparer.Ordinal);
    private readonly List<string> _notes = [];

    public IReadOnlyList<Result> All => _all;

    /// <summary>Largest resident set seen by work.</summary>
    public IReadOnlyDictionary<string, long> Memory => _memory;

    public IReadOnlyList<string> Notes => _notes;

    /// <summary>A ratio of pairs that ran beside each other.</summary>
    public void AddRatio(string work, double limit, IReadOnlyList<(Measured Ours, Measured Theirs)> pairs)
    {
        var wall = pairs.Select(pair => pair.Ours.Wall / pair.Theirs.Wall).Order().ToList();
        var cpu = pairs.Select(pair => pair.Ours.Cpu / pair.Theirs.Cpu).Order().ToList();
        var detail = string.Join(", ", pairs.Select(pair => $"{pair.Ours.Wall:0.0} s to {pair.Theirs.Wall:0.0} s"))
            + $"; CPU time {Median(cpu):0.00} x ({pairs.Average(pair => pair.Ours.Cpu):0.0} s to "
            + $"{pairs.Average(pair => pair.Theirs.Cpu):0.0} s)";
        Add(new Result(work, limit, wall[0], Median(wall), "x", detail));
    }

    /// <summary>Times of our own.</summary>
    public void AddTimes(string work, double limit, IReadOnlyList<Measured> runs)
    {
        var wall = runs.Select(run => run.Wall).Order().ToList();
        Add(new Result(work, limit, wall[0], Median(wall), "s", $"CPU time {Median([.. runs.Select(run => run.Cpu).Order()]):0.00} s"));
    }

    public void Add(Result result)
    {
        _all.Add(result);
        output.WriteLine($"{(result.IsKept ? "kept  " : "MISSED")} {result.Work}: {result.Median:0.00} {result.Unit} "
            + $"(best {result.Best:0.00}, limit {result.Limit:0.00}); {result.Detail}");
    }

    public void AddMemory(string work, Measured run) =>
        _memory[work] = Math.Max(_memory.GetValueOrDefault(work), run.Memory);

    /// <summary>A fact for below the table.</summary>
    public void Note(string text)
    {
        _notes.Add(text);
        output.WriteLine($"       {text}");
    }

    public static double Median(IReadOnlyList<double> sorted) => sorted.Count % 2 == 1
        ? sorted[sorted.Count / 2]
        : (sorted[sorted.Count / 2 - 1] + sorted[sorted.Count / 2]) / 2;
}
