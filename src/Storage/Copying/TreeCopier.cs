// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Threading.Channels;

namespace Tidemark.Storage;

/// <summary>
/// Brings one tree into a run of another repository: what differs from the last copied one is read ahead from the source, and written in
/// order. In a twin, chunks known by id are not read, and packs of which most is wanted are taken over whole. Memory:
/// <see cref="ReadAhead"/> bytes of chunks, and one pack.
/// </summary>
internal sealed class TreeCopier(RepositoryContext source, BlobReader blobs, BackupRun target, PackCopier? packs, Action<long> advance)
{
    private const int ReadAhead = 16 << 20;
    private const int MostReads = 32;

    /// <summary>Bytes of chunks read from the source, packs not counted.</summary>
    public long ReadBytes { get; private set; }

    /// <param name="name">The disk or file.</param>
    /// <param name="tree">Its tree in the source.</param>
    /// <param name="before">The last copied one there, or null.</param>
    /// <param name="origin">The same here; null exactly when the other is.</param>
    /// <param name="cancellationToken">Ends it; the run fails.</param>
    public async Task<DiskResult> CopyAsync(
        string name, TreeRef tree, TreeRef? before, TreeRef? origin, CancellationToken cancellationToken)
    {
        var writer = target.OpenDisk(name, tree.Size, tree.ChunkLog2, origin);
        if ((await writer.FindHurtAsync(cancellationToken)).Count > 0)
            before = null; // what was lost here is among what was copied before: every chunk is looked at
        if (packs is not null)
            await TakePacksAsync(tree, before, cancellationToken);
        var depth = Math.Clamp(ReadAhead >> tree.ChunkLog2, 2, MostReads);
        var reads = Channel.CreateBounded<Pending>(depth);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var producing = source.Scheduler.Start(() => ProduceAsync(tree, before, origin is not null, reads.Writer, stop.Token));
        try
        {
            while (await reads.Reader.WaitToReadAsync(stop.Token))
            {
                while (reads.Reader.TryRead(out var pending))
                    await WriteAsync(writer, tree, pending, cancellationToken);
            }

            await producing;
        }
        finally
        {
            stop.Stop();
            await producing.Quietly();
            while (reads.Reader.TryRead(out var left))
            {
                await left.Read.Quietly();
                left.Buffer?.Dispose();
            }
        }

        return await writer.FinishAsync(cancellationToken);
    }

    private async Task ProduceAsync(
        TreeRef tree, TreeRef? before, bool hasOrigin, ChannelWriter<Pending> reads, CancellationToken cancellationToken)
    {
        try
        {
            // Beside a base here that is not compared, holes must be written too.
            var everything = before is null && hasOrigin;
            await foreach (var change in ChangesAsync(tree, before, everything, cancellationToken))
            {
                if (change.IsZero)
                {
                    await reads.WriteAsync(new Pending(change, null, default, Task.CompletedTask), cancellationToken);
                    continue;
                }

                if (packs is not null && await target.FindKnownAsync(change.Id, tree.Shape.ChunkSize) is { } known)
                {
                    await reads.WriteAsync(new Pending(change, null, known, Task.CompletedTask), cancellationToken);
                    continue;
                }

                await reads.WaitToWriteAsync(cancellationToken);
                var buffer = MemoryPool<byte>.Shared.Rent(tree.Shape.ChunkSize);
                var content = buffer.Memory[..tree.Shape.ChunkSize];
                var read = blobs.ReadChunkAsync(change.Id, change.Location, content, cancellationToken).AsTask();
                ReadBytes += content.Length;
                await reads.WriteAsync(new Pending(change, buffer, default, read), CancellationToken.None);
            }

            reads.Complete();
        }
        catch (Exception failure)
        {
            reads.Complete(failure);
            throw;
        }
    }

    private async Task WriteAsync(DiskWriter writer, TreeRef tree, Pending pending, CancellationToken cancellationToken)
    {
        var change = pending.Change;
        if (pending.Buffer is { } buffer)
        {
            try
            {
                await pending.Read;
            }
            catch
            {
                buffer.Dispose();
                throw;
            }

            await writer.WriteAsync(change.From, buffer, cancellationToken);
        }
        else if (change.IsZero)
        {
            await writer.ZeroAsync(change.From, change.To, cancellationToken);
        }
        else
        {
            await writer.ReferAsync(change.From, change.Id, pending.Known, cancellationToken);
        }

        advance((Math.Min(change.To, tree.Shape.ChunkCount) - change.From) << tree.ChunkLog2);
    }

    private async IAsyncEnumerable<TreeChange> ChangesAsync(
        TreeRef tree, TreeRef? before, bool everything,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long next = 0;
        await foreach (var change in new TreeDiff(blobs, tree, before).FindAsync(cancellationToken))
        {
            if (everything && change.From > next)
                yield return new TreeChange(next, change.From, default, default);
            yield return change;
            next = change.To;
        }

        if (everything && next < tree.Shape.ChunkCount)
            yield return new TreeChange(next, tree.Shape.ChunkCount, default, default);
    }

    // Packs of which at least half is wanted here.
    private async Task TakePacksAsync(TreeRef tree, TreeRef? before, CancellationToken cancellationToken)
    {
        var wanted = new Dictionary<PackName, long>();
        var seen = new HashSet<BlobId>();
        await foreach (var change in new TreeDiff(blobs, tree, before).FindAsync(cancellationToken))
        {
            if (change.Location.Pack is not { IsData: true } pack || !seen.Add(change.Id)
                || await target.FindKnownAsync(change.Id, tree.Shape.ChunkSize) is not null)
                continue;
            wanted[pack] = wanted.GetValueOrDefault(pack) + change.Location.Length;
            if (seen.Count >= PlannedChunks.PlanSize << 4)
                seen.Clear(); // only so that a chunk that repeats is not counted for ever
        }

        foreach (var (pack, bytes) in wanted)
        {
            if (await source.Store.HeadAsync(pack.Key, cancellationToken) is { } info && bytes * 2 >= info.Size)
                await packs!.TryCopyAsync(pack, cancellationToken);
        }
    }

    // A change on its way: to be read into a buffer, known here, or zero.
    private sealed record Pending(TreeChange Change, IMemoryOwner<byte>? Buffer, BlobLocation Known, Task Read);
}
