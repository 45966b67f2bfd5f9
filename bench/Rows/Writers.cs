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

        await bench.InitAsync("in-turn");
        var inTurn = new List<Measured>();
        for (var host = 0; host < Hosts; host++)
            inTurn.Add(await BackUpAsync(bench, "in-turn", host));
        await bench.InitAsync("at-once");
        var atOnce = await Task.WhenAll(Enumerable.Range(0, Hosts).Select(host => BackUpAsync(bench, "at-once", host)));
        bench.Results.AddMemory("one of eight backups at once", atOnce.MaxBy(run => run.Memory)!);
        var sum = inTurn.Sum(run => run.Cpu);
        var detail = $"{atOnce.Sum(run => run.Cpu):0} s to {sum:0} s";
        var ratio = atOnce.Sum(run => run.Cpu) / sum;
        bench.Results.Add(new Result("CPU time of 8 equal hosts at once / one after another", 1.2, ratio, ratio, "x", detail));

        var before = SizeOf(bench.PathOf("at-once"));
        var collected = await bench.TidemarkAsync("at-once", "gc", "--max-delete", "100");
        bench.Results.AddMemory("collection after eight backups at once", collected);
        var stored = (double)SizeOf(bench.PathOf("at-once")) / SizeOf(bench.PathOf("in-turn"));
        detail = $"{before / 1e6:0} MB before the collection, which took {collected.Wall:0.0} s";
        bench.Results.Add(new Result("stored by them after a collection / one after another", 1.02, stored, stored, "x", detail));
        foreach (var machine in machines)
            await machine.StopAsync(bench.Token);
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
}
