// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Nbd;
using Tidemark.Qemu;

namespace Tidemark.Bench.Rows;

/// <summary>Reading the test disk over NBD to nowhere, against nbdcopy; both skip what the server calls zero.</summary>
internal static class NbdRead
{
    private const int Piece = 256 << 10;
    private const int Depth = 64;

    public static async Task RunAsync(Bench bench)
    {
        var image = await bench.CopyAsync(await bench.UsrImageAsync(), "read.qcow2");
        await using var server = await QemuNbd.ServeAsync(
            new QemuNbdOptions { Image = ImageRef.File(image, "qcow2"), SocketPath = bench.PathOf("read.sock") }, bench.Token);
        var uri = NbdUri.ForUnixSocket(server.SocketPath, "").ToString();
        var pairs = await bench.InTurnsAsync(
            () => bench.Command().RunAsync("dotnet", "exec", typeof(NbdRead).Assembly.Location, "client-read", uri),
            () => bench.Command().RunAsync("nbdcopy", uri, "null:"));
        bench.Results.AddRatio("NBD read of the disk to nowhere / `nbdcopy URI null:`", 1.15, pairs);
        foreach (var (ours, _) in pairs)
            bench.Results.AddMemory("NBD read, 10 GiB disk", ours);
    }

    /// <summary>The process that is measured: every data extent once, in order, many reads in flight.</summary>
    public static async Task ClientAsync(string uri, CancellationToken cancellationToken)
    {
        await using var source = await NbdBlockSource.OpenAsync(NbdUri.Parse(uri), NbdClientOptions.Default, cancellationToken);
        var free = new Stack<byte[]>(Enumerable.Range(0, Depth).Select(_ => GC.AllocateUninitializedArray<byte>(Piece)));
        var running = new Queue<(Task Read, byte[] Buffer)>();
        long total = 0;
        await foreach (var extent in source.ExtentsAsync(new ByteRange(0, source.Size), cancellationToken))
        {
            if (extent.Kind == ExtentKind.Zero)
                continue;
            for (var at = extent.Range.Offset; at < extent.Range.End; at += Piece)
            {
                if (!free.TryPop(out var buffer))
                {
                    (var oldest, buffer) = running.Dequeue();
                    await oldest;
                }

                var length = (int)Math.Min(Piece, extent.Range.End - at);
                total += length;
                running.Enqueue((source.ReadAsync(at, buffer.AsMemory(0, length), cancellationToken).AsTask(), buffer));
            }
        }

        foreach (var (read, _) in running)
            await read;
        Console.WriteLine(total);
    }
}
