// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Spectre.Console;

namespace Tidemark.Demo;

/// <summary>A row of the table. Bytes are null where they mean nothing.</summary>
internal sealed class Step(string name)
{
    public string Name { get; } = name;

    public TimeSpan Time { get; set; }

    public long? ReadBytes { get; set; }

    public long? StoredBytes { get; set; }

    /// <summary>Size of the disk that <see cref="ReadBytes"/> and <see cref="StoredBytes"/> are compared with.</summary>
    public long? DiskBytes { get; set; }

    public List<string> Proofs { get; } = [];

    public bool Done { get; set; }
}

/// <summary>What the person sees: a line for each step as it happens, and the table at the end.</summary>
internal sealed class Screen(IAnsiConsole console)
{
    private readonly List<Step> _steps = [];
    private readonly long _begun = Stopwatch.GetTimestamp();

    /// <summary>The terminal; a file or a log gets plain text, as wide as the table needs.</summary>
    public static Screen OfThisProcess()
    {
        if (!Console.IsOutputRedirected)
            return new Screen(AnsiConsole.Console);
        var plain = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors });
        plain.Profile.Width = 132;
        return new Screen(plain);
    }

    /// <summary>A sentence, with Spectre's markup.</summary>
    public void Say(string markup) => console.MarkupLine(markup);

    /// <summary>A command as a user would type it.</summary>
    public void Command(IEnumerable<string> words) =>
        console.MarkupLine($"    [grey]$ ./tidemark {Markup.Escape(string.Join(' ', words))}[/]");

    public void Fail(string message) => console.MarkupLine($"[red]Something is off:[/] {Markup.Escape(message)}");

    /// <summary>Does a step, times it, and keeps it for the table also when it fails.</summary>
    public async Task<T> StepAsync<T>(string name, Func<Step, Task<T>> work)
    {
        var step = new Step(name);
        _steps.Add(step);
        console.MarkupLine($"[blue]●[/] {Markup.Escape(name)}");
        var begun = Stopwatch.GetTimestamp();
        try
        {
            var result = await work(step);
            step.Done = true;
            return result;
        }
        finally
        {
            // A step may have timed its own heart.
            if (step.Time == TimeSpan.Zero)
                step.Time = Stopwatch.GetElapsedTime(begun);
        }
    }

    public void ShowTable()
    {
        var table = new Table().RoundedBorder().BorderColor(Color.Grey);
        table.AddColumn("Step");
        foreach (var name in (string[])["Time", "Read", "Stored", "of the disk"])
            table.AddColumn(new TableColumn(name).RightAligned());
        table.AddColumn("Proof");
        foreach (var step in _steps)
        {
            table.AddRow(
                $"{(step.Done ? "[green]✓[/]" : "[red]✗[/]")} {Markup.Escape(step.Name)}",
                Seconds(step.Time),
                step.ReadBytes is { } read ? Size(read) : "",
                step.StoredBytes is { } stored ? Size(stored) : "",
                step is { StoredBytes: { } part, DiskBytes: { } whole } ? Share(part, whole) : "",
                Markup.Escape(string.Join('\n', step.Proofs)));
        }

        table.Caption($"{Seconds(Stopwatch.GetElapsedTime(_begun))} in all");
        console.WriteLine();
        console.Write(table);
    }

    public static string Size(long bytes) => bytes switch
    {
        < 1 << 10 => $"{bytes} B",
        < 1 << 20 => Number(bytes / 1024.0, "KiB"),
        < 1 << 30 => Number(bytes / (1024.0 * 1024), "MiB"),
        _ => Number(bytes / (1024.0 * 1024 * 1024), "GiB"),
    };

    private static string Number(double value, string unit) => string.Create(CultureInfo.InvariantCulture, $"{value:0.0} {unit}");

    private static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0} s");

    private static string Share(long part, long whole) => string.Create(CultureInfo.InvariantCulture, $"{100.0 * part / whole:0.00} %");
}
