// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Bench.Rows;

/// <summary>The test disk restored into a raw file, the read-back proof taken off, against `restic dump` into a file.</summary>
internal static class Restore
{
    public static async Task RunAsync(Bench bench)
    {
        var image = await bench.CopyAsync(await bench.UsrImageAsync(), "restore.qcow2");
        var machine = await bench.MachineAsync("restore", image);
        await FullBackup.BackUpAsync(bench, machine, "restore-repo");
        await FullBackup.ResticAsync(bench, image);
        var whole = new List<double>();
        var pairs = await bench.InTurnsAsync(
            async () =>
            {
                var run = await bench.TidemarkAsync(
                    "restore-repo", "restore", "restore@latest", "--format", "raw", "--to", bench.Folder("restored"), "--json");
                whole.Add(run.Wall);
                bench.Results.AddMemory("restore to raw, 10 GiB disk", run);
                return run with { Wall = run.Wall - Proof(run) };
            },
            () => FullBackup.ResticCommand(bench)
                .RunAsync("bash", "-ec", $"restic -q dump latest disk.raw >'{bench.Folder("dumped")}/disk.raw'"));
        bench.Results.AddRatio("restore to a raw file, proof not counted / `restic dump`", 0.6, pairs);
        bench.Results.Note($"Restore with its read-back proof: {Results.Median([.. whole[1..].Order()]):0.0} s.");
        await Tool.RunAsync(
            "cmp",
            [Directory.EnumerateFiles(bench.PathOf("restored")).Single(), Path.Combine(bench.PathOf("dumped"), "disk.raw")],
            bench.Token);
        Directory.Delete(bench.PathOf("restored"), recursive: true);
        Directory.Delete(bench.PathOf("dumped"), recursive: true);
        await machine.StopAsync(bench.Token);
    }

    private static double Proof(Measured run)
    {
        using var document = JsonDocument.Parse(run.Output);
        return document.RootElement.GetProperty("disks").EnumerateArray().Sum(disk => disk.GetProperty("proofSeconds").GetDouble());
    }
}
