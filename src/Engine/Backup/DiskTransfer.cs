// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Tidemark.Blocks;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>
/// Moves one disk of a frozen point into the repository: changed chunks are read ahead, as many as fit into
/// <see cref="ReadAhead"/>, and handed to the disk's writer in order. What is not changed is never read.
/// </summary>
internal sealed class DiskTransfer(IFrozenDisk disk, DiskPlan plan, DiskWriter writer, Action<long, long> progress)
{
    private const int ReadAhead = 8 << 20;
    private const int MostRequests = 64;

    private readonly int _chunkSize = 1 << plan.ChunkLog2;
    private long _total;
    private long _done;

    /// <summary>Bytes read from the frozen point.</summary>
    public long ReadBytes { get; private set; }

    /// <summary>Bytes looked at although nothing changed them: the repository has lost what it had of them.</summary>
    public long HurtBytes { get; private set; }

    public async Task<DiskResult> RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var depth = Math.Clamp(ReadAhead / _chunkSize, 2, MostRequests);
        var reads = Channel.CreateBounded<PendingRead>(depth);
        var producing = ProduceAsync(reads.Writer, stop.Token);
        try
        {
            await ConsumeAsync(reads.Reader, stop.Token);
            await producing;
        }
        finally
        {
            await stop.CancelAsync();
            await DrainAsync(producing, reads.Reader);
        }

        if (plan.IsIncremental)
            await CheckBitmapAsync(cancellationToken);
        return await writer.FinishAsync(cancellationToken);
    }

    // QEMU forgets what it noted for an area that is cut off: a disk shrunk and grown again between two backups calls zeroes
    // unchanged. One chunk tells, the last that is inherited: a cut below it took it away, a cut above it took nothing inherited.
    private async Task CheckBitmapAsync(CancellationToken cancellationToken)
    {
        var chunk = await writer.LastInheritedAsync(cancellationToken);
        if (chunk < 0)
            return;
        using var buffer = MemoryPool<byte>.Shared.Rent(_chunkSize);
        var content = buffer.Memory[.._chunkSize];
        var offset = chunk << plan.ChunkLog2;
        await disk.Source.ReadAsync(offset, content[..(int)Math.Min(_chunkSize, disk.Source.Size - offset)], cancellationToken);
        if (!await writer.IsLastInheritedAsync(content, cancellationToken))
        {
            var problem = $"The bitmap of disk '{plan.Disk.Name}' calls bytes from {offset} on unchanged, which are not.";
            throw new CheckpointUnusableException(plan.Disk.Name, problem) { IsIncomplete = true };
        }
    }

    private async Task ProduceAsync(ChannelWriter<PendingRead> reads, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var run in ChangedChunks.FindAsync(disk.Source, ChangesAsync(cancellationToken), _chunkSize, cancellationToken))
            {
                if (run.Kind == ExtentKind.Zero)
                {
                    await reads.WriteAsync(new PendingRead(run.Range, null, Task.CompletedTask), cancellationToken);
                    continue;
                }

                for (var at = run.Range.Offset; at < run.Range.End; at += _chunkSize)
                {
                    var chunk = ByteRange.FromBounds(at, Math.Min(at + _chunkSize, run.Range.End));
                    await reads.WaitToWriteAsync(cancellationToken);
                    var buffer = MemoryPool<byte>.Shared.Rent(_chunkSize);
                    var read = disk.Source.ReadAsync(at, buffer.Memory[..(int)chunk.Length], cancellationToken).AsTask();
                    await reads.WriteAsync(new PendingRead(chunk, buffer, read), CancellationToken.None);
                }
            }

            reads.Complete();
        }
        catch (Exception e)
        {
            reads.Complete(e);
            throw;
        }
    }

    private async Task ConsumeAsync(ChannelReader<PendingRead> reads, CancellationToken cancellationToken)
    {
        await foreach (var read in reads.ReadAllAsync(cancellationToken))
        {
            var first = read.Range.Offset >> plan.ChunkLog2;
            if (read.Buffer is not { } buffer)
            {
                await writer.ZeroAsync(first, (read.Range.End + _chunkSize - 1) >> plan.ChunkLog2, cancellationToken);
            }
            else
            {
                await read.Done;
                await writer.WriteAsync(first, buffer, cancellationToken);
                ReadBytes += read.Range.Length;
            }

            _done += read.Range.Length;
            progress(_done, Math.Max(_total, _done));
        }
    }

    // A full read is one change over the whole disk.
    private async IAsyncEnumerable<ByteRange> ChangesAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (!plan.IsIncremental)
        {
            _total = disk.Source.Size;
            if (disk.Source.Size > 0)
                yield return new ByteRange(0, disk.Source.Size);
            yield break;
        }

        var hurt = await writer.FindHurtAsync(cancellationToken);
        HurtBytes = hurt.Sum(range => range.Length);
        await foreach (var range in HurtRanges.MergeAsync(disk.ChangedAsync(cancellationToken), hurt, cancellationToken))
        {
            _total += range.Length;
            yield return range;
        }
    }

    // After a failure: no read may still write into a buffer that goes back to the pool.
    private static async Task DrainAsync(Task producing, ChannelReader<PendingRead> reads)
    {
        await producing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (reads.TryRead(out var left))
        {
            await left.Done.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            left.Buffer?.Dispose();
        }
    }

    // A zero run has no buffer.
    private sealed record PendingRead(ByteRange Range, IMemoryOwner<byte>? Buffer, Task Done);
}
