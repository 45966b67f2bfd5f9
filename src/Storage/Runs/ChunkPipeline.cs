// SPDX-License-Identifier: Apache-2.0
using System.Threading.Channels;

namespace Tidemark.Storage;

/// <summary>
/// The workers of a run: hash, known?, compress, seal, append. Memory: the queue, and one job and one sealed chunk per worker. The first
/// failure stops everything; every call then throws it.
/// </summary>
internal sealed class ChunkPipeline : IAsyncDisposable
{
    private readonly RepositoryContext _context;
    private readonly KnownBlobs _known;
    private readonly PackWriter _packs;
    private readonly BackupRunOptions _options;
    private readonly RunCounters _counters;
    private readonly CancellationToken _stop;
    private readonly Action<Exception> _fail;
    private readonly Channel<ChunkJob> _jobs;
    private readonly Task[] _workers;

    public ChunkPipeline(
        RepositoryContext context, KnownBlobs known, PackWriter packs, BackupRunOptions options, RunCounters counters,
        Action<Exception> fail, CancellationToken stop)
    {
        (_context, _known, _packs, _options, _counters, _fail, _stop) = (context, known, packs, options, counters, fail, stop);
        var workers = Math.Max(1, options.Workers);
        _jobs = Channel.CreateBounded<ChunkJob>(Math.Min(StorageLimits.QueuedChunks * workers, StorageLimits.MostQueuedChunks));
        _workers = [.. Enumerable.Range(0, workers).Select(_ => context.Scheduler.Start(WorkAsync))];
    }

    /// <summary>Queues a job; one that could not be queued is cancelled, so that every job comes to an end.</summary>
    public async ValueTask AddAsync(ChunkJob job, CancellationToken cancellationToken)
    {
        try
        {
            await _jobs.Writer.WriteAsync(job, cancellationToken);
        }
        catch
        {
            job.Cancel();
            job.Buffer.Dispose();
            throw;
        }
    }

    /// <summary>Returns when every job was processed; none may be added afterwards.</summary>
    public async Task FinishAsync()
    {
        _jobs.Writer.TryComplete();
        await Task.WhenAll(_workers);
    }

    public async ValueTask DisposeAsync() => await FinishAsync();

    private async Task WorkAsync()
    {
        using var compressor = new ChunkCompressor(_options.CompressionLevel, _options.CheckAll, _counters);
        var sealedBytes = Array.Empty<byte>();
        while (await _jobs.Reader.WaitToReadAsync(CancellationToken.None))
        {
            while (_jobs.Reader.TryRead(out var job))
                sealedBytes = await WorkAsync(job, compressor, sealedBytes);
        }
    }

    // Returns the buffer for sealed bytes, grown if the job needed it.
    private async ValueTask<byte[]> WorkAsync(ChunkJob job, ChunkCompressor compressor, byte[] sealedBytes)
    {
        using var buffer = job.Buffer;
        try
        {
            _stop.ThrowIfCancellationRequested();
            if (sealedBytes.Length < job.ChunkSize + BlobSealer.Overhead)
                sealedBytes = GC.AllocateUninitializedArray<byte>(job.ChunkSize + BlobSealer.Overhead);
            job.Complete(await ProcessAsync(job, compressor, sealedBytes));
        }
        catch (Exception failure)
        {
            // The failure first: whoever waits for the job then finds the reason.
            _fail(failure);
            job.Cancel();
        }

        return sealedBytes;
    }

    private async ValueTask<ChunkOutcome> ProcessAsync(ChunkJob job, ChunkCompressor compressor, byte[] sealedBytes)
    {
        var chunk = job.Buffer.Memory[..job.ChunkSize];
        chunk.Span[job.Length..].Clear();
        BlobId id;
        using (_counters.Measure(RunStage.Hash))
        {
            if (chunk.Span.IndexOfAnyExcept((byte)0) < 0)
                return new ChunkOutcome(ChunkFate.Zero, default, default, null, 0);
            id = _context.Keys.ChunkId(chunk.Span);
        }

        if (job.HasOrigin && !job.IsHurt && id == job.Inherited)
            return new ChunkOutcome(ChunkFate.Inherited, id, default, null, 0);
        Claim claim;
        using (_counters.Measure(RunStage.Lookup))
            claim = await _known.ClaimAsync(id, job.ChunkSize, _stop);
        if (!claim.IsNew)
            return new ChunkOutcome(ChunkFate.Known, id, claim.Location, claim.Blob, 0);
        // Compressed where it is then sealed: the fewer buffers, the more of them stay in the core's cache.
        var body = sealedBytes.AsMemory(BlobSealer.BodyOffset, job.ChunkSize);
        var length = compressor.Compress(chunk.Span, body.Span);
        var stored = length == 0 ? chunk : body[..length];
        var how = length == 0 ? BlobCompression.None : BlobCompression.Zstd;
        var blob = sealedBytes.AsMemory(0, BlobSealer.Overhead + stored.Length);
        using (_counters.Measure(RunStage.Seal))
            BlobSealer.Close(_context.Keys, BlobKind.Chunk, in id, how, job.ChunkSize, stored.Span, blob.Span);
        using (_counters.Measure(RunStage.Append))
            await _packs.AppendAsync(claim.Blob!, id, job.ChunkSize, BlobKind.Chunk, how, blob);
        return new ChunkOutcome(ChunkFate.Stored, id, default, claim.Blob, blob.Length);
    }
}
