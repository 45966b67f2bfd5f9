// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Lab;
using Tidemark.Nbd;
using Tidemark.Qemu;

namespace Tidemark.Bench.Rows;

/// <summary>
/// How long it takes to learn what changed on a 1 TiB disk with 100 000 dirty extents, as a backup does: the bitmap is
/// listed, and extents this small are read without asking for their allocation. Asking is measured too; there the
/// time is QEMU's, which walks its tables.
/// </summary>
internal static class Extents
{
    private const int Count = 100_000;
    private const long Size = 1L << 40;
    private const string Bitmap = "changed";

    public static async Task RunAsync(Bench bench)
    {
        var cached = await bench.CachedAsync("extents.qcow2", path => MakeAsync(bench, path));
        var image = await bench.CopyAsync(cached, "extents.qcow2");
        await using var server = await QemuNbd.ServeAsync(
            new QemuNbdOptions { Image = ImageRef.File(image, "qcow2"), SocketPath = bench.PathOf("extents.sock"), Bitmaps = [Bitmap] },
            bench.Token);
        var uri = NbdUri.ForUnixSocket(server.SocketPath, "").ToString();
        var runs = new List<Measured>();
        for (var run = 0; run <= bench.Runs; run++)
            runs.Add(await ListAsync(bench, uri, "bitmap"));
        bench.Results.AddTimes("100 000 dirty extents of a 1 TiB disk listed", 2, runs[1..]);
        bench.Results.AddMemory("extents, 1 TiB disk", runs.MaxBy(run => run.Memory)!);
        var asking = await ListAsync(bench, uri, "allocation");
        bench.Results.Note(
            $"The 100 000 extents with the allocation of each: {asking.Wall:0.0} s, of it {asking.Cpu:0.0} s CPU time of ours.");
    }

    private static async Task<Measured> ListAsync(Bench bench, string uri, string how)
    {
        var run = await bench.ClientAsync("client-extents", uri, how);
        return run.Output.Trim() == $"{Count}"
            ? run
            : throw new InvalidOperationException($"The client listed '{run.Output.Trim()}' extents; there are {Count}.");
    }

    /// <summary>The process that is measured.</summary>
    public static async Task ClientAsync(string uri, bool withAllocation, CancellationToken cancellationToken)
    {
        var context = $"qemu:dirty-bitmap:{Bitmap}";
        var options = NbdClientOptions.Default with { Contexts = [NbdMetaContext.BaseAllocation, context] };
        await using var source = await NbdBlockSource.OpenAsync(NbdUri.Parse(uri), options, cancellationToken);
        var count = 0;
        var disk = new ByteRange(0, source.Size);
        if (withAllocation)
        {
            await foreach (var extent in source.DirtyExtentsAsync(context, disk, cancellationToken))
                count += extent.Kind == ExtentKind.Data ? 1 : 0;
        }
        else
        {
            await foreach (var range in source.DirtyRangesAsync(context, disk, cancellationToken))
                count += range.IsEmpty ? 0 : 1;
        }

        Console.WriteLine(count);
    }

    private static async Task MakeAsync(Bench bench, string path)
    {
        var work = bench.PathOf("extents-new.qcow2");
        await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", work, $"{Size}"], bench.Token);
        await Tool.RunAsync("qemu-img", ["bitmap", "--add", "-g", "65536", work, Bitmap], bench.Token);
        var options = new QemuNbdOptions
        {
            Image = ImageRef.File(work, "qcow2"),
            SocketPath = bench.PathOf("extents-new.sock"),
            ReadOnly = false,
            Cache = CacheMode.Unsafe,
        };
        await using (var server = await QemuNbd.ServeAsync(options, bench.Token))
        {
            await using var target = await NbdBlockTarget.OpenAsync(
                NbdUri.ForUnixSocket(server.SocketPath, ""), NbdClientOptions.Default, bench.Token);
            var piece = new byte[4096];
            piece.AsSpan().Fill(0x5a);
            var step = Size / Count >> 16 << 16;
            var many = new ParallelOptions { MaxDegreeOfParallelism = 32, CancellationToken = bench.Token };
            await Parallel.ForAsync(0, Count, many, async (i, token) =>
                await target.WriteAsync(i * step, piece, token));
        }

        File.Move(work, path);
    }
}
