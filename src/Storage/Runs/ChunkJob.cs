// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>What became of a chunk.</summary>
internal enum ChunkFate
{
    Zero,
    Inherited,
    Known,
    Stored,
}

/// <summary>A chunk's result: its id and where it lies or will lie.</summary>
internal readonly record struct ChunkOutcome(ChunkFate Fate, BlobId Id, BlobLocation Location, StoredBlob? Blob, int StoredLength);

/// <summary>
/// A chunk between its disk's writer and a worker; owns the buffer until it is processed. A hurt one is stored although the base has
/// the same.
/// </summary>
internal sealed record ChunkJob(IMemoryOwner<byte> Buffer, int Length, int ChunkSize, BlobId Inherited, bool HasOrigin, bool IsHurt)
{
    /// <summary>Said to be what the base has; if not, that is reported.</summary>
    public bool IsAudit { get; init; }

    private readonly TaskCompletionSource<ChunkOutcome> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<ChunkOutcome> Done => _done.Task;

    /// <summary>A chunk that is done already: it lies in the repository.</summary>
    public static ChunkJob Known(BlobId id, BlobLocation location)
    {
        var job = new ChunkJob(MemoryPool<byte>.Shared.Rent(0), 0, 0, default, false, false);
        job.Buffer.Dispose();
        job.Complete(new ChunkOutcome(ChunkFate.Known, id, location, null, 0));
        return job;
    }

    public void Complete(ChunkOutcome outcome) => _done.TrySetResult(outcome);

    public void Cancel() => _done.TrySetCanceled();
}
