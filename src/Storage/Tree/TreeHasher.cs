// SPDX-License-Identifier: Apache-2.0
using System.Threading.Channels;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>
/// Computes the root a disk would have in a repository (I8), without storing anything: the proof after a restore. Reads data extents only,
/// several at once; memory: two chunks per core.
/// </summary>
internal static class TreeHasher
{
    public static async Task<BlobId> RootAsync(
        RepositoryContext context, IBlockSource source, TreeShape shape, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var pending = Channel.CreateBounded<(long Chunk, Task<BlobId> Id)>(2 * Environment.ProcessorCount);
        var reading = context.Scheduler.Start(() => StartReadsAsync(context, source, shape, pending.Writer, stop.Token));
        try
        {
            var builder = new TreeBuilder(shape, null, null, null, context.Keys);
            while (await pending.Reader.WaitToReadAsync(stop.Token))
            {
                while (pending.Reader.TryRead(out var next))
                {
                    var id = await next.Id;
                    progress?.Report((next.Chunk + 1) << shape.ChunkLog2);
                    if (!id.IsZero)
                        await builder.SetAsync(next.Chunk, id, default, null, stop.Token);
                }
            }

            await reading;
            return (await builder.FinishAsync(stop.Token)).Root;
        }
        finally
        {
            stop.Stop();
            await reading.Quietly();
            while (pending.Reader.TryRead(out var left))
                await left.Id.Quietly();
        }
    }

    private static async Task StartReadsAsync(
        RepositoryContext context, IBlockSource source, TreeShape shape, ChannelWriter<(long Chunk, Task<BlobId> Id)> pending,
        CancellationToken cancellationToken)
    {
        Exception? failure = null;
        try
        {
            long next = 0;
            await foreach (var extent in source.ExtentsAsync(new ByteRange(0, shape.Size), cancellationToken))
            {
                if (extent.Kind == ExtentKind.Zero)
                    continue;
                var last = (extent.Range.End - 1) >> shape.ChunkLog2;
                for (var chunk = Math.Max(next, extent.Range.Offset >> shape.ChunkLog2); chunk <= last; chunk++)
                {
                    var index = chunk;
                    var hashing = context.Scheduler.Start(() => HashAsync(context.Keys, source, shape, index, cancellationToken));
                    await pending.WriteAsync((chunk, hashing), cancellationToken);
                    next = chunk + 1;
                }
            }
        }
        catch (Exception caught)
        {
            failure = caught;
        }

        pending.Complete(failure);
    }

    // The id of a chunk, or zero for one of zero bytes only.
    private static async Task<BlobId> HashAsync(
        RepositoryKeys keys, IBlockSource source, TreeShape shape, long chunk, CancellationToken cancellationToken)
    {
        using var buffer = AlignedPool.Rent(shape.ChunkSize); // a source may read past the page cache
        var length = shape.LengthOf(chunk);
        await source.ReadAsync(chunk << shape.ChunkLog2, buffer.Memory[..length], cancellationToken);
        var content = buffer.Memory.Span;
        content[length..].Clear();
        return content.IndexOfAnyExcept((byte)0) < 0 ? default : keys.ChunkId(content);
    }
}
