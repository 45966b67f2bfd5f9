// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Libvirt;

namespace Tidemark.Bench.Rows;

/// <summary>
/// A whole backup of the test disk into a new repository, against virtnbdbackup (which neither compresses, encrypts nor
/// deduplicates) and against restic, which gets the disk's bytes through a pipe.
/// </summary>
internal static class FullBackup
{
    // The copy goes through the page cache, and back to back each round would write it into the 3 GB that deleting the copy before has
    // just freed. At rest they have gone where free memory goes: on a virtual machine often back to its host.
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(10);

    public static async Task RunAsync(Bench bench)
    {
        var image = await bench.CopyAsync(await bench.UsrImageAsync(), "full.qcow2");
        var machine = await bench.MachineAsync("full", image);
        var stages = "";
        var copies = await InTurnsAsync(Rest);
        bench.Results.AddRatio("full backup / `virtnbdbackup -l copy`", 0.6, copies);
        bench.Results.AddRatio("the same, back to back", 0.6, await InTurnsAsync(TimeSpan.Zero));
        var used = Directory.EnumerateFiles(bench.PathOf("full-repo"), "*", SearchOption.AllDirectories)
            .Sum(file => new FileInfo(file).Length);
        bench.Results.Note($"Full backup: {stages.Split(": ", 2)[^1]}; the repository holds {used / 1e6:0} MB.");
        await machine.StopAsync(bench.Token);

        var pairs = new List<(Measured Ours, Measured Theirs)>();
        await machine.StartAsync(bench.Token);
        for (var run = 0; run < bench.Runs; run++)
            pairs.Add((await BackUpAsync(bench, machine, "full-repo"), await ResticAsync(bench, image)));
        bench.Results.AddRatio("full backup / `restic backup --stdin`", 0.3, pairs);
        foreach (var ours in copies.Concat(pairs).Select(pair => pair.Ours))
            bench.Results.AddMemory("full backup, 10 GiB disk", ours);
        await machine.StopAsync(bench.Token);

        Task<List<(Measured Ours, Measured Theirs)>> InTurnsAsync(TimeSpan rest) => bench.InTurnsAsync(
            async () =>
            {
                var run = await BackUpAsync(bench, machine, "full-repo", rest);
                stages = run.Errors.Split('\n').LastOrDefault(line => line.Contains("by stage", StringComparison.Ordinal)) ?? "";
                return run;
            },
            () => CopyAsync(bench, machine, rest));
    }

    /// <summary>A first backup: new repository, no checkpoint of an older one, and <paramref name="rest"/> before it.</summary>
    public static async Task<Measured> BackUpAsync(Bench bench, LabMachine machine, string repository, TimeSpan rest = default)
    {
        foreach (var name in await machine.Domain.ListCheckpointsAsync(bench.Token))
            await machine.Domain.DeleteCheckpointAsync(name, CheckpointDeleteFlags.None, bench.Token);
        await bench.InitAsync(repository);
        await Task.Delay(rest, bench.Token);
        return await bench.TidemarkAsync(repository, "backup", machine.Name, "-v");
    }

    /// <summary>restic keeps the disk in a new repository with the peer's defaults; nbdcopy feeds it what qemu-nbd serves.</summary>
    public static Task<Measured> ResticAsync(Bench bench, string image)
    {
        var repository = bench.Folder("restic");
        var feed = $"nbdcopy -- [ qemu-nbd -r --image-opts 'driver=qcow2,force-share=on,file.driver=file,file.filename={image}' ] -";
        return ResticCommand(bench)
            .RunAsync("bash", "-ec", $"set -o pipefail; restic -q init; {feed} | restic -q backup --stdin --stdin-filename disk.raw");
    }

    public static Command ResticCommand(Bench bench) => bench.Command()
        .With("RESTIC_REPOSITORY", bench.PathOf("restic"))
        .With("RESTIC_PASSWORD", "measured")
        .With("RESTIC_CACHE_DIR", bench.PathOf("restic-cache"));

    // It insists on a name and a password for such a URI; libvirt never asks for them.
    private static async Task<Measured> CopyAsync(Bench bench, LabMachine machine, TimeSpan rest)
    {
        var (folder, scratch) = (bench.Folder("copy"), bench.Folder("copy-scratch"));
        await Task.Delay(rest, bench.Token);
        return await bench.Command().RunAsync(
            "virtnbdbackup", "-U", bench.Host.Uri, "--user", "none", "--password", "none",
            "-d", machine.Name, "-l", "copy", "-n", "-o", folder, "-f", Path.Combine(scratch, "socket"), "-S", scratch);
    }
}
