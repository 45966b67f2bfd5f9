// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Tidemark.Bench;
using Tidemark.Bench.Rows;

var rows = new Dictionary<string, Func<Bench, Task>>(StringComparer.Ordinal)
{
    ["full"] = FullBackup.RunAsync,
    ["read"] = NbdRead.RunAsync,
    ["unchanged"] = Unchanged.RunAsync,
    ["scattered"] = Scattered.RunAsync,
    ["extents"] = Extents.RunAsync,
    ["restore"] = Restore.RunAsync,
    ["huge"] = Unchanged.HugeAsync,
    ["writers"] = Writers.RunAsync,
    ["collect"] = Collect.RunAsync,
    ["index"] = Tidemark.Bench.Rows.Index.RunAsync,
    ["requests"] = Bucket.RequestsAsync,
    ["bucket"] = Bucket.RunAsync,
};

using var stop = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => Cancel(signal));
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => Cancel(signal));
switch (args)
{
    case ["client-read", var uri]:
        await NbdRead.ClientAsync(uri, stop.Token);
        return 0;
    case ["client-download", var endpoint, var prefix, var folder]:
        await Bucket.ClientAsync(endpoint, prefix, folder, stop.Token);
        return 0;
    case ["client-extents", var uri, var how]:
        await Extents.ClientAsync(uri, how == "allocation", stop.Token);
        return 0;
    case ["client-index", var folder, var keyFile]:
        await Tidemark.Bench.Rows.Index.ClientAsync(folder, keyFile, stop.Token);
        return 0;
}

var runs = 2;
var chosen = new List<string>();
var isWritten = false;
for (var i = 0; i < args.Length; i++)
{
    if (args[i] == "--runs" && i + 1 < args.Length && int.TryParse(args[i + 1], out runs) && runs > 0)
    {
        i++;
        continue;
    }

    if (args[i] == "--write")
    {
        isWritten = true;
        continue;
    }

    if (!rows.ContainsKey(args[i]))
    {
        Console.Error.WriteLine($"bench/run: '{args[i]}' is none of {string.Join(", ", rows.Keys)} or --runs N or --write");
        return 2;
    }

    chosen.Add(args[i]);
}

await using var bench = await Bench.StartAsync(runs, stop.Token);
try
{
    foreach (var (name, row) in rows)
    {
        if (chosen.Count > 0 && !chosen.Contains(name, StringComparer.Ordinal))
            continue;
        await row(bench);
        bench.Clear();
    }
}
catch (Exception e) when (e is InvalidOperationException or IOException or OperationCanceledException)
{
    Console.Error.WriteLine($"bench/run: {e.Message}");
    return 1;
}

foreach (var (work, bytes) in bench.Results.Memory)
    bench.Results.Note($"Largest resident set, {work}: {bytes / 1e6:0} MB.");
if (chosen.Count == 0)
    bench.Results.Add(Document.MemoryRow(bench.Results));
if (chosen.Count == 0 || isWritten)
    await Document.WriteAsync(bench, "docs/benchmarks.md");
return bench.Results.All.All(result => result.IsKept) ? 0 : 1;

void Cancel(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.Cancel();
}
