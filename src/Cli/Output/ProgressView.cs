// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using Spectre.Console;
using Tidemark.Engine.Runs;

namespace Tidemark.Cli.Output;

/// <summary>
/// Shows how far the disks of running backups or restores are, or how much a check has read, on standard error: a live bar on a
/// terminal, a line now and then (<c>plain</c>), a JSON line (<c>json</c>), or nothing. Events come on the run's threads and only
/// store numbers.
/// </summary>
internal sealed class ProgressView : IProgress<long>, IAsyncDisposable
{
    private static readonly TimeSpan Live = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan Lines = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<(string? Machine, string? Disk), Track> _tracks = new();
    private readonly ConcurrentQueue<string> _notices = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _painting;
    private readonly UserOutput _output;
    private long _read;

    public ProgressView(UserOutput output)
    {
        _output = output;
        var live = output.Progress == "auto" && !output.Quiet && !Console.IsErrorRedirected;
        _painting = output.Progress switch
        {
            _ when live => PaintLiveAsync(),
            "plain" => PaintLinesAsync(PlainLine),
            "json" => PaintLinesAsync(JsonLine),
            _ => Task.CompletedTask,
        };
    }

    /// <summary>Takes an event of a run.</summary>
    public void Receive(RunEvent happened)
    {
        switch (happened)
        {
            case DiskProgress disk:
                _tracks.GetOrAdd((disk.Machine, disk.Disk), _ => new Track()).Set(disk.Done, disk.Total);
                break;
            case Notice notice:
                _notices.Enqueue($"{notice.Machine}: {notice.Text}");
                break;
            case StagesMeasured measured when _output.Verbose:
                var stages = measured.Stages.Select(stage => $"{stage.Key} {stage.Value.TotalSeconds:0.000}");
                _notices.Enqueue($"{measured.Machine}: seconds by stage, summed over threads: {string.Join(", ", stages)}");
                break;
        }
    }

    /// <summary>Takes how many bytes were read so far, by a command that reads no one disk.</summary>
    public void Report(long value)
    {
        var track = _tracks.GetOrAdd((null, null), _ => new Track());
        lock (track) // several threads tell, and not in order
            track.Set(_read = Math.Max(_read, value), null);
    }

    /// <summary>Shows the last state, and everything that was said meanwhile.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        // A terminal that went away must not turn a finished backup into a failure.
        await _painting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (_notices.TryDequeue(out var notice))
            _output.Note(notice);
        _stop.Dispose();
    }

    private async Task PaintLiveAsync()
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        await console.Live(new Text("")).AutoClear(false).StartAsync(async view =>
        {
            while (!_stop.IsCancellationRequested)
            {
                await WaitAsync(Live);
                if (_tracks.IsEmpty)
                    continue;
                var grid = new Grid().AddColumns(4);
                foreach (var (key, track) in _tracks.OrderBy(pair => pair.Key))
                {
                    var (done, total, rate, eta) = track.Read();
                    grid.AddRow(
                        new Text(Name(key)),
                        new Markup(total is { } all ? Bar(done, all) : ""),
                        new Text(Amount(done, total)),
                        new Text($"{Sizes.Bytes(rate)}/s{(eta is { } left ? ", " + Sizes.Duration(left) + " left" : "")}"));
                }

                view.UpdateTarget(grid);
            }
        });
    }

    private async Task PaintLinesAsync(Func<(string? Machine, string? Disk), Track, string> line)
    {
        while (!_stop.IsCancellationRequested)
        {
            await WaitAsync(Lines);
            foreach (var (key, track) in _tracks.OrderBy(pair => pair.Key))
            {
                if (track.TakeChanged())
                    await Console.Error.WriteLineAsync(line(key, track));
            }
        }
    }

    private async Task WaitAsync(TimeSpan time)
    {
        try
        {
            await Task.Delay(time, _stop.Token);
        }
        catch (OperationCanceledException)
        {
            // One last look follows.
        }
    }

    private static string Name((string? Machine, string? Disk) key) => key.Machine is null ? "read" : $"{key.Machine} {key.Disk}";

    private static string Amount(long done, long? total) =>
        total is { } all ? $"{Sizes.Bytes(done)} of {Sizes.Bytes(all)}" : Sizes.Bytes(done);

    private static string PlainLine((string? Machine, string? Disk) key, Track track)
    {
        var (done, total, rate, eta) = track.Read();
        var left = eta is { } time ? $", {Sizes.Duration(time)} left" : "";
        return $"{Name(key)}: {Amount(done, total)}, {Sizes.Bytes(rate)}/s{left}";
    }

    private static string JsonLine((string? Machine, string? Disk) key, Track track)
    {
        var (done, total, rate, eta) = track.Read();
        var line = new ProgressLine(key.Machine, key.Disk, done, total, rate, eta?.TotalSeconds);
        return JsonSerializer.Serialize(line, LineJson.Default.ProgressLine);
    }

    private static string Bar(long done, long total)
    {
        const int width = 30;
        var filled = total == 0 ? width : (int)(width * done / total);
        return $"[green]{new string('━', filled)}[/][grey]{new string('━', width - filled)}[/]";
    }

    // One disk's numbers; written by the run, read by the painter.
    private sealed class Track
    {
        private readonly long _started = Stopwatch.GetTimestamp();
        private long _done;
        private long _total; // negative while unknown
        private long _shown = -1;

        public void Set(long done, long? total)
        {
            Volatile.Write(ref _total, total ?? -1);
            Volatile.Write(ref _done, done);
        }

        public bool TakeChanged() => Interlocked.Exchange(ref _shown, Volatile.Read(ref _done)) != Volatile.Read(ref _done);

        public (long Done, long? Total, long Rate, TimeSpan? Left) Read()
        {
            var (done, stored) = (Volatile.Read(ref _done), Volatile.Read(ref _total));
            var total = stored < 0 ? (long?)null : stored;
            var seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
            var rate = seconds > 0 ? (long)(done / seconds) : 0;
            return (done, total, rate, rate > 0 && done < total ? TimeSpan.FromSeconds((double)(total.Value - done) / rate) : null);
        }
    }
}
