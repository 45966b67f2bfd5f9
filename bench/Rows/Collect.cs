// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Buffers.Binary;
using Tidemark.Storage;

namespace Tidemark.Bench.Rows;

/// <summary>`gc` of a million chunks in a hundred points, of which the older half was deleted. The chunks compress to almost nothing:
/// what is measured is the marking and the index, not the disk.</summary>
internal static class Collect
{
    private const int Points = 100;
    private const int NewChunks = 10_000; // of each point, in runs of 16
    private const int DiskChunks = 100_000;
    private const int RunLength = 16;

    public static async Task RunAsync(Bench bench)
    {
        await bench.InitAsync("gc-repo");
        await FillAsync(bench.PathOf("gc-repo"), bench.PathOf("key"), bench.Token);
        var before = await bench.TidemarkAsync("gc-repo", "verify");
        var run = await bench.TidemarkAsync("gc-repo", "gc", "--max-delete", "100", "--undo-window", "0h");
        bench.Results.AddTimes($"`gc` of {Points * NewChunks:N0} chunks in {Points} points, half of them deleted", 30, [run]);
        bench.Results.AddMemory("gc of a million chunks", run);
        bench.Results.Note($"`gc` of a million chunks: {run.Memory / 1e6:0} MB; {run.Output.ReplaceLineEndings(" ").Trim()}");
        bench.Results.Note($"`verify --level quick` before it: {before.Wall:0.0} s.");
        await bench.TidemarkAsync("gc-repo", "verify", "--level", "data");
    }

    private static async Task FillAsync(string folder, string keyFile, CancellationToken cancellationToken)
    {
        await using var store = new FolderStore(folder);
        var credentials = Credentials.FromKeyFile(await File.ReadAllTextAsync(keyFile, cancellationToken));
        using var repository = await Repository.OpenAsync(store, credentials, new OpenOptions(), cancellationToken);
        var machine = new MachineId("00000000-0000-4000-8000-000000000001");
        var random = new Random(1);
        RestorePoint? last = null;
        long number = 1;
        for (var point = 0; point < Points; point++)
        {
            var options = new BackupRunOptions { Bases = last is null ? [] : [last] };
            await using var run = await repository.BeginRunAsync(machine, options, cancellationToken);
            var disk = run.OpenDisk("vda", (long)DiskChunks << 16, 16, last?.Disk("vda").Tree);
            var starts = Enumerable.Range(0, DiskChunks / RunLength).ToArray();
            random.Shuffle(starts);
            foreach (var start in starts.Take(NewChunks / RunLength).Order())
            {
                for (var i = 0; i < RunLength; i++)
                    await disk.WriteAsync(start * RunLength + i, ChunkOf(number++), cancellationToken);
            }

            var result = await disk.FinishAsync(cancellationToken);
            last = await run.CommitAsync(
                new RestorePointDraft
                {
                    Name = "many",
                    Uuid = machine.Value,
                    Time = DateTimeOffset.UnixEpoch.AddDays(point),
                    Disks = [new DraftDisk(result, new PointDisk { Mode = "incremental" })],
                },
                cancellationToken);
        }

        var all = await repository.ListPointsAsync(machine, cancellationToken);
        foreach (var old in all.Points.Skip(Points / 2))
            await repository.RetireAsync(old.MachineId, old.Id, null, cancellationToken);
    }

    private static IMemoryOwner<byte> ChunkOf(long number)
    {
        var buffer = MemoryPool<byte>.Shared.Rent(1 << 16);
        buffer.Memory.Span.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(buffer.Memory.Span, number);
        return buffer;
    }
}
