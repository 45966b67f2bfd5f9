// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Tidemark.Blocks;
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>
/// Moves one disk of a frozen point into the repository: changed chunks, and those that an audit wants to see, are read ahead, as many as
/// a <see cref="ReadWindow"/> says, and handed to the disk's writer in the order it wants. Everything else is never read.
/// </summary>
/// <param name="disk">The frozen disk.</param>
/// <param name="plan">What is read.</param>
/// <param name="audit">What is read besides; null for a full read.</param>
/// <param name="suspicion">Told by the writer.</param>
/// <param name="writer">Takes the disk; this ends it.</param>
/// <param name="progress">Bytes done, and of how many as far as that is known.</param>
internal sealed class DiskTransfer(
    IFrozenDisk disk, DiskPlan plan, AuditPlan? audit, Suspicion suspicion, DiskWriter writer, Action<long, long> progress)
{
    private const int LeastAhead = 3 << 19; // bytes, from a source in memory; it then runs ahead of any compressor
    private const int MostAhead = 8 << 20;
    private const int MostRequests = 64;

    private readonly int _chunkSize = 1 << plan.ChunkLog2;
    private long _total;
    private long _done;

    /// <summary>Bytes read because they changed, or because all is read.</summary>
    public long ReadBytes { get; private set; }

    /// <summary>Bytes read although they are said to be unchanged.</summary>
    public long AuditedBytes { get; private set; }

    /// <summary>Bytes looked at although nothing changed them: the repository has lost what it had of them.</summary>
    public long HurtBytes { get; private set; }

    // Once everything is looked at, the disk comes out right whatever was found. Else the rest can't be trusted either.
    private bool GivesUp => suspicion.IsFounded && audit is { Window.IsWhole: false };

    /// <summary>Null when the audit found the bitmap wrong: what was read is no use then, and the writer has ended.</summary>
    public async Task<DiskResult?> RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var most = Math.Clamp(MostAhead / _chunkSize, 2, MostRequests);
        using var window = new ReadWindow(Math.Clamp(LeastAhead / _chunkSize, 2, most), most);
        var reads = Channel.CreateBounded<PendingRead>(most);
        var producing = ProduceAsync(reads.Writer, window, stop.Token);
        try
        {
            await ConsumeAsync(reads.Reader, window, stop.Token);
            if (!GivesUp)
                await producing;
        }
        finally
        {
            await stop.CancelAsync();
            await DrainAsync(producing, reads.Reader);
        }

        if (audit is not null && !GivesUp)
            await CheckLastAsync(cancellationToken);
        var result = GivesUp ? null : await writer.FinishAsync(cancellationToken);
        if (!GivesUp)
            return result;
        await writer.AbandonAsync();
        return null;
    }

    // QEMU forgets what it noted for an area that is cut off: a disk shrunk and grown again between two backups calls zeroes
    // unchanged. One chunk tells, the last that is inherited: a cut below it took it away, a cut above it took nothing inherited.
    private async Task CheckLastAsync(CancellationToken cancellationToken)
    {
        var chunk = await writer.LastInheritedAsync(cancellationToken);
        if (chunk < 0)
            return;
        using var buffer = MemoryPool<byte>.Shared.Rent(_chunkSize);
        var content = buffer.Memory[.._chunkSize];
        var offset = chunk << plan.ChunkLog2;
        await disk.Source.ReadAsync(offset, content[..(int)Math.Min(_chunkSize, disk.Source.Size - offset)], cancellationToken);
        if (!await writer.IsLastInheritedAsync(content, cancellationToken))
            suspicion.Found(chunk, chunk + 1);
    }

    private async Task ProduceAsync(ChannelWriter<PendingRead> reads, ReadWindow window, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var run in FindAsync(cancellationToken))
            {
                if (run.IsAudit)
                    _total += run.Range.Length;
                if (run.Kind == ExtentKind.Zero)
                {
                    await reads.WriteAsync(new PendingRead(run, null, Task.CompletedTask), cancellationToken);
                    continue;
                }

                for (var at = run.Range.Offset; at < run.Range.End; at += _chunkSize)
                {
                    var chunk = ByteRange.FromBounds(at, Math.Min(at + _chunkSize, run.Range.End));
                    await window.EnterAsync(cancellationToken);
                    await reads.WaitToWriteAsync(cancellationToken); // runs of zero take room there too
                    var buffer = MemoryPool<byte>.Shared.Rent(_chunkSize);
                    var read = disk.Source.ReadAsync(at, buffer.Memory[..(int)chunk.Length], cancellationToken).AsTask();
                    await reads.WriteAsync(new PendingRead(run with { Range = chunk }, buffer, read), CancellationToken.None);
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

    private async Task ConsumeAsync(ChannelReader<PendingRead> reads, ReadWindow window, CancellationToken cancellationToken)
    {
        await foreach (var read in reads.ReadAllAsync(cancellationToken))
        {
            var (range, isAudit) = (read.Run.Range, read.Run.IsAudit);
            var first = range.Offset >> plan.ChunkLog2;
            if (read.Buffer is not { } buffer)
            {
                var end = (range.End + _chunkSize - 1) >> plan.ChunkLog2;
                await (isAudit ? writer.AuditZeroAsync(first, end, cancellationToken) : writer.ZeroAsync(first, end, cancellationToken));
            }
            else
            {
                var isLate = !read.Done.IsCompleted;
                await read.Done;
                window.Leave(isLate);
                await (isAudit
                    ? writer.AuditAsync(first, buffer, cancellationToken)
                    : writer.WriteAsync(first, buffer, cancellationToken));
                if (isAudit)
                    AuditedBytes += range.Length;
                else
                    ReadBytes += range.Length;
            }

            if (GivesUp)
                return;
            _done += range.Length;
            progress(_done, Math.Max(_total, _done));
        }
    }

    private IAsyncEnumerable<ChunkRun> FindAsync(CancellationToken cancellationToken) => plan.IsIncremental switch
    {
        false => FindAllAsync(cancellationToken),
        true when audit is null => ChangedChunks.FindAsync(disk.Source, ChangesAsync(cancellationToken), _chunkSize, cancellationToken),
        true => new AuditedChunks(disk.Source, _chunkSize, audit).FindAsync(ChangesAsync(cancellationToken), cancellationToken),
    };

    private async IAsyncEnumerable<ChunkRun> FindAllAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        _total = disk.Source.Size;
        foreach (var piece in await writer.OrderAsync(cancellationToken))
        {
            await foreach (var run in ChangedChunks.FindAsync(disk.Source, piece, _chunkSize, cancellationToken))
                yield return run;
        }
    }

    private async IAsyncEnumerable<ByteRange> ChangesAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
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

    // A chunk, or a run of zero without a buffer.
    private sealed record PendingRead(ChunkRun Run, IMemoryOwner<byte>? Buffer, Task Done);
}
