// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Bench.Rows;

/// <summary>The price of an idle hour: the second backup of an unchanged 1 TiB thin disk. And 8 TiB in the same memory.</summary>
internal static class Unchanged
{
    private const long Mebi = 1L << 20;

    public static async Task RunAsync(Bench bench)
    {
        var machine = await ThinAsync(bench, "thin", 1L << 40);
        var runs = new List<Measured>();
        await FullBackup.BackUpAsync(bench, machine, "thin-repo");
        for (var run = 0; run <= bench.Runs; run++)
            runs.Add(await bench.TidemarkAsync("thin-repo", "backup", machine.Name));
        bench.Results.AddTimes("second backup of a 1 TiB thin disk, nothing changed", 1.5, runs[1..]);
        bench.Results.AddMemory("second backup, 1 TiB disk", runs.MaxBy(run => run.Memory)!);
        await machine.StopAsync(bench.Token);
    }

    public static async Task HugeAsync(Bench bench)
    {
        var machine = await ThinAsync(bench, "huge", 8L << 40);
        bench.Results.AddMemory("full backup, 8 TiB thin disk", await FullBackup.BackUpAsync(bench, machine, "huge-repo"));
        await machine.WriteAsync("vda", 5L << 40, 64 * Mebi, 0x77, bench.Token);
        bench.Results.AddMemory("incremental, 8 TiB thin disk", await bench.TidemarkAsync("huge-repo", "backup", machine.Name));
        var restored = await bench.TidemarkAsync(
            "huge-repo", "restore", "huge@latest", "--format", "raw", "--to", bench.Folder("huge-restored"));
        bench.Results.AddMemory("restore to raw, 8 TiB thin disk", restored);
        bench.Results.Note($"Restore of the 8 TiB thin disk, proof included: {restored.Wall:0.0} s.");
        Directory.Delete(bench.PathOf("huge-restored"), recursive: true);
        await machine.StopAsync(bench.Token);
    }

    // Data in a few places, as a file system leaves it.
    private static async Task<LabMachine> ThinAsync(Bench bench, string name, long size)
    {
        var machine = await LabMachine.DefineAsync(bench.Host, name, new LabDisk("vda", size));
        for (var part = 0; part < 16; part++)
            await machine.WriteAsync("vda", size / 16 * part, 16 * Mebi, (byte)(part + 1), bench.Token);
        return machine;
    }
}
