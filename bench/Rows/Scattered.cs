// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Text.Json;
using Tidemark.Blocks;
using Tidemark.Lab;
using Tidemark.Nbd;
using Tidemark.Qemu;

namespace Tidemark.Bench.Rows;

/// <summary>
/// An incremental after 4096 scattered writes of 64 KiB: what a touched chunk costs beside a chunk of a full backup, with the audit of
/// what did not change and without, and, with chunks of 64 KiB, what is stored beside what was written.
/// </summary>
internal static partial class Scattered
{
    private const int Pieces = 4096;
    private const int PieceSize = 64 << 10;
    private const int ChunkSize = 256 << 10;

    public static async Task RunAsync(Bench bench)
    {
        var image = await bench.CopyAsync(await bench.UsrImageAsync(), "scattered.qcow2");
        var machine = await bench.MachineAsync("scattered", image);
        await FullBackup.BackUpAsync(bench, machine, "scattered-repo");
        await bench.InitAsync("unaudited-repo");
        await bench.TidemarkAsync("unaudited-repo", "backup", machine.Name);
        await bench.InitAsync("small-repo");
        await bench.TidemarkAsync("small-repo", "backup", machine.Name, "--chunk-size", "64K");
        var times = new List<double>();
        var unaudited = new List<double>();
        var perRead = new List<double>();
        var stored = new List<double>();
        for (var round = 0; round <= bench.Runs; round++)
        {
            await machine.StopAsync(bench.Token);
            var compressed = await ChangeAsync(bench, image, round);
            await machine.StartAsync(bench.Token);
            var before = SizeOf(bench.PathOf("small-repo"));
            await bench.TidemarkAsync("small-repo", "backup", machine.Name, "--chunk-size", "64K");
            stored.Add((double)(SizeOf(bench.PathOf("small-repo")) - before) / compressed);
            var plain = round % 2 == 0 ? await BackUpAsync(bench, machine, "unaudited-repo", "0") : null;
            var incremental = await BackUpAsync(bench, machine, "scattered-repo", null);
            plain ??= await BackUpAsync(bench, machine, "unaudited-repo", "0");
            await bench.InitAsync("reference-repo");
            var full = await bench.TidemarkAsync("reference-repo", "backup", machine.Name, "--json");
            times.Add(PerByte(incremental) / PerByte(full));
            unaudited.Add(PerByte(plain) / PerByte(full));
            perRead.Add(incremental.Wall / (ReadBytes(incremental) + AuditedBytes(incremental)) / PerByte(full));
            bench.Results.Note($"Scattered, round {round}: incremental {Describe(incremental)}, without audit {Describe(plain)}, "
                + $"full {Describe(full)} for {ReadBytes(full) / 1e9:0.00} GB");
            bench.Results.AddMemory("incremental, 4096 pieces, 10 GiB disk", incremental);
        }

        Add(bench, "incremental, 4096 scattered 64 KiB pieces / full backup, per byte of touched chunks", 1.2, times[1..]);
        Add(bench, "those pieces without the audit of 2 % of the disk / full backup, per byte of touched chunks", 1.2, unaudited[1..]);
        Add(bench, "the incremental / full backup, per byte of touched and audited chunks", 1.2, perRead[1..]);
        Add(bench, "stored by it with `--chunk-size 64K` (chunks, nodes, index) / changed bytes compressed", 1.1, stored[1..]);
        await machine.StopAsync(bench.Token);
    }

    private static async Task<Measured> BackUpAsync(Bench bench, LabMachine machine, string repository, string? audit)
    {
        string[] arguments = audit is null ? [] : ["--audit", audit];
        var run = await bench.TidemarkAsync(repository, ["backup", machine.Name, "--json", .. arguments]);
        return ReadBytes(run) == (long)Pieces * ChunkSize ? run : throw new InvalidOperationException(
            $"The incremental read {ReadBytes(run)} bytes; the touched chunks have {(long)Pieces * ChunkSize}.");
    }

    private static string Describe(Measured run) => $"{run.Wall:0.00} s (CPU {run.Cpu:0.00})";

    private static double PerByte(Measured run) => run.Wall / ReadBytes(run);

    private static void Add(Bench bench, string work, double limit, IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        var detail = string.Join(", ", sorted.Select(value => $"{value:0.000}"));
        bench.Results.Add(new Result(work, limit, sorted[0], Results.Median(sorted), "x", detail));
    }

    private static long ReadBytes(Measured run) => OfDisk(run, "readBytes");

    private static long AuditedBytes(Measured run) => OfDisk(run, "auditedBytes");

    private static long OfDisk(Measured run, string property)
    {
        using var document = JsonDocument.Parse(run.Output);
        return document.RootElement.GetProperty("points")[0].GetProperty("disks")[0].GetProperty(property).GetInt64();
    }

    private static long SizeOf(string folder) =>
        Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);

    // The machine is off: its persistent bitmaps track these writes all the same. New contents are old ones with every byte
    // shifted, so that they compress as the disk does and are nowhere else. Returns their compressed size.
    private static async Task<long> ChangeAsync(Bench bench, string image, int round)
    {
        await using var server = await QemuNbd.ServeAsync(
            new QemuNbdOptions { Image = ImageRef.File(image, "qcow2"), SocketPath = bench.PathOf("change.sock"), ReadOnly = false },
            bench.Token);
        var uri = NbdUri.ForUnixSocket(server.SocketPath, "");
        await using var source = await NbdBlockSource.OpenAsync(uri, NbdClientOptions.Default, bench.Token);
        await using var target = await NbdBlockTarget.OpenAsync(uri, NbdClientOptions.Default, bench.Token);
        var chunks = new List<long>();
        await foreach (var extent in source.ExtentsAsync(new ByteRange(0, source.Size), bench.Token))
        {
            if (extent.Kind == ExtentKind.Zero)
                continue;
            var first = extent.Range.AlignOut(ChunkSize, source.Size).Offset + ChunkSize;
            for (var at = first; at + ChunkSize <= extent.Range.End; at += ChunkSize)
                chunks.Add(at);
        }

        var random = new Random(round);
        var chosen = chunks.ToArray();
        random.Shuffle(chosen);
        var piece = new byte[PieceSize];
        var output = new byte[PieceSize * 2];
        long compressed = 0;
        foreach (var chunk in chosen.Take(Pieces).Order())
        {
            var at = chunk + (long)random.Next(ChunkSize / PieceSize) * PieceSize;
            await source.ReadAsync(at, piece, bench.Token);
            for (var i = 0; i < piece.Length; i++)
                piece[i] += (byte)(round + 1);
            await target.WriteAsync(at, piece, bench.Token);
            compressed += Math.Min(PieceSize, (long)Compress(output, (nuint)output.Length, piece, (nuint)piece.Length, 1));
        }

        await target.FlushAsync(bench.Token);
        return compressed;
    }

    [LibraryImport("libzstd.so.1", EntryPoint = "ZSTD_compress")]
    private static partial nuint Compress(byte[] target, nuint capacity, byte[] source, nuint length, int level);
}
