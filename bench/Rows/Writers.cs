// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Bench.Rows;

/// <summary>
/// Eight hosts with equal disks back up to one folder, one after another and all at once: what being at once costs in CPU time, and what
/// it leaves behind after a collection. A host is told by its machine id, which each process sees as its own; that needs root.
/// </summary>
internal static class Writers
{
    private const int Hosts = 8;

    // The first argument lies over /etc/machine-id for this process and its children only.
    private const string OnHost = "mount --bind \"$0\" /etc/machine-id; exec \"$@\"";

    public static async Task RunAsync(Bench bench)
    {
        var image = await bench.UsrImageAsync();
        var machines = new List<LabMachine>();
        for (var host = 0; host < Hosts; host++)
        {
            var path = bench.PathOf($"host{host}.qcow2");
            await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, path], bench.Token);
            bench.Host.GiveToQemu(path);
            machines.Add(await bench.MachineAsync($"host{host}", path));
            await File.WriteAllTextAsync(bench.PathOf($"id{host}"), $"{host + 1:x32}\n", bench.Token);
        }

        var rounds = new List<Round>();
        for (var round = 0; round < bench.Runs; round++)
            rounds.Add(await RunRoundAsync(bench, round));
        var cpu = rounds.Select(round => round.AtOnce / round.InTurn).Order().ToList();
        var detail = string.Join(", ", rounds.Select(round => $"{round.AtOnce:0} s to {round.InTurn:0} s"));
        bench.Results.Add(new Result(
            "CPU time of 8 equal hosts at once / one after another", 1.2, cpu[0], Results.Median(cpu), "x", detail));
        var stored = rounds.Select(round => round.Stored).Order().ToList();
        detail = string.Join(", ", rounds.Select(round => $"{round.Before / 1e6:0} MB before a collection of {round.Collection:0.0} s"));
        bench.Results.Add(new Result(
            "stored by them after a collection / one after another", 1.02, stored[0], stored[^1], "x", detail));
        foreach (var machine in machines)
            await machine.StopAsync(bench.Token);
    }

    // Repositories of its own; what is stored is told by the worst round.
    private static async Task<Round> RunRoundAsync(Bench bench, int round)
    {
        var (turns, together) = ($"in-turn-{round}", $"at-once-{round}");
        await bench.InitAsync(turns);
        var inTurn = new List<Measured>();
        for (var host = 0; host < Hosts; host++)
            inTurn.Add(await BackUpAsync(bench, turns, host));
        await bench.InitAsync(together);
        var atOnce = await Task.WhenAll(Enumerable.Range(0, Hosts).Select(host => BackUpAsync(bench, together, host)));
        bench.Results.AddMemory("one of eight backups at once", atOnce.MaxBy(run => run.Memory)!);
        var before = SizeOf(bench.PathOf(together));
        var collected = await bench.TidemarkAsync(together, "gc", "--max-delete", "100");
        bench.Results.AddMemory("collection after eight backups at once", collected);
        var stored = (double)SizeOf(bench.PathOf(together)) / SizeOf(bench.PathOf(turns));
        Directory.Delete(bench.PathOf(turns), recursive: true);
        Directory.Delete(bench.PathOf(together), recursive: true);
        return new Round(atOnce.Sum(run => run.Cpu), inTurn.Sum(run => run.Cpu), before, collected.Wall, stored);
    }

    private static Task<Measured> BackUpAsync(Bench bench, string repository, int host) => bench.Command()
        .With("TIDEMARK_REPO", bench.PathOf(repository))
        .With("TIDEMARK_KEY_FILE", bench.PathOf("key"))
        .With("TIDEMARK_CONNECT", bench.Host.Uri)
        .With("TIDEMARK_STATE", bench.PathOf($"state{host}"))
        .With("TIDEMARK_SCRATCH", bench.PathOf("scratch"))
        .RunAsync(
            "unshare", "-m", "sh", "-ec", OnHost, bench.PathOf($"id{host}"),
            Path.GetFullPath("artifacts/tidemark/tidemark"), "backup", $"host{host}", "-q");

    private static long SizeOf(string folder) =>
        Directory.EnumerateFiles(Path.Combine(folder, "packs"), "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);

    private sealed record Round(double AtOnce, double InTurn, long Before, double Collection, double Stored);
}
