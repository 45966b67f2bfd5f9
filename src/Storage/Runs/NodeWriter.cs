// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Stores finished nodes, children before parents, each once the packs its hints name are closed; a child in the same pack needs no
/// name. Nodes wait in order; how many is bounded by what one pack of chunks can hold. Safe from any thread.
/// </summary>
internal sealed class NodeWriter(
    RepositoryContext context, KnownBlobs known, PackWriter packs, RunCounters counters) : INodeSink, IDisposable
{
    private readonly Lock _gate = new();
    private readonly Queue<WaitingNode> _waiting = new();
    private readonly SemaphoreSlim _storing = new(1);
    private readonly byte[] _plain = new byte[TreeNode.MaxSize];
    private readonly byte[] _sealed = new byte[BlobSealer.Overhead + TreeNode.MaxSize];

    public async ValueTask<StoredBlob?> AddAsync(TreeNode node, BlobId id, StoredBlob?[] children, CancellationToken cancellationToken)
    {
        Claim claim;
        lock (_gate)
        {
            // Claimed and queued at once: a parent of another disk that finds the claim comes after it.
            claim = known.ClaimNode(in id);
            if (claim.IsNew)
                _waiting.Enqueue(new WaitingNode(node, id, children, claim.Blob!));
        }

        if (!claim.IsNew)
            return claim.Blob ?? Located(claim.Location);
        await StoreReadyAsync(cancellationToken);
        return claim.Blob;
    }

    /// <summary>Stores the nodes at the head of the queue that lack nothing any more.</summary>
    public async Task StoreReadyAsync(CancellationToken cancellationToken)
    {
        await _storing.EnterAsync(cancellationToken);
        try
        {
            while (TakeReady() is { } ready)
                await StoreAsync(ready);
        }
        finally
        {
            _storing.Release();
        }
    }

    /// <summary>Whether nothing waits: after the packs of chunks were closed, nothing may.</summary>
    public bool IsEmpty
    {
        get
        {
            lock (_gate)
                return _waiting.Count == 0;
        }
    }

    public void Dispose() => _storing.Dispose();

    private static StoredBlob Located(BlobLocation location)
    {
        var blob = new StoredBlob();
        blob.PlaceAt(location);
        return blob;
    }

    private WaitingNode? TakeReady()
    {
        lock (_gate)
        {
            if (!_waiting.TryPeek(out var head))
                return null;
            // Children of a node of level 1 and more went before it, to the same pack or one that closes before it is asked again.
            var isReady = Array.TrueForAll(
                head.Children, child => child is null || child.IsDurable || (head.Node.Level > 0 && child.IsPlaced));
            return isReady ? _waiting.Dequeue() : null;
        }
    }

    private async ValueTask StoreAsync(WaitingNode waiting)
    {
        using var measured = counters.Measure(RunStage.Tree);
        await packs.AppendAsync(waiting.Blob, waiting.Id, BlobKind.Node, pack => SealNode(waiting, pack));
    }

    private (ReadOnlyMemory<byte> Sealed, int PlainLength, BlobCompression Compression) SealNode(WaitingNode waiting, OpenPack pack)
    {
        for (var slot = 0; slot < TreeShape.FanOut; slot++)
        {
            // A child in a pack that is being closed has no name yet: the node goes without that hint (I9).
            if (waiting.Children[slot] is { } child && waiting.Node.Has(slot))
                waiting.Node.Locate(slot, child.IsIn(pack) || child.IsDurable ? child.LocationWithin(pack) : default);
        }

        var length = waiting.Node.Write(_plain);
        var target = _sealed.AsMemory(0, BlobSealer.Overhead + length);
        BlobSealer.Close(context.Keys, BlobKind.Node, waiting.Id, BlobCompression.None, length, _plain.AsSpan(0, length), target.Span);
        return (target, length, BlobCompression.None);
    }

    private sealed record WaitingNode(TreeNode Node, BlobId Id, StoredBlob?[] Children, StoredBlob Blob);
}
