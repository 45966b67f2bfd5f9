// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>A pack that a collector wrote, and what lies in it.</summary>
internal sealed record MovedPack(IndexedPack Pack, IReadOnlyList<PackEntry> Entries);

/// <summary>
/// Copies what condemned packs still hold into packs of the collect run, as it is, no data key needed. A pack's bytes are hashed first,
/// and the copy stays in the name of the writer that made it, so that it is worth as much as the original (I19). Memory: one pack, and some
/// bytes for each blob moved.
/// </summary>
internal sealed class PackMover(RepositoryContext context, CollectorIndex index, RunId run, CollectorRules rules)
{
    private readonly List<MovedPack> _moved = [];
    private byte[] _buffer = [];

    /// <summary>What was written.</summary>
    public IReadOnlyList<MovedPack> Moved => _moved;

    /// <summary>Bytes of the packs written.</summary>
    public long Length => _moved.Sum(pack => (long)pack.Pack.Size);

    /// <summary>Moves what is needed of each pack, durably; returns the packs of which nothing is needed any more. The others are
    /// damaged, or the store has no room for what they hold, and stay.</summary>
    public async Task<IReadOnlyList<CollectorPack>> MoveAsync(IReadOnlyList<CollectorPack> packs, CancellationToken cancellationToken)
    {
        var emptied = new List<CollectorPack>();
        if (packs.Count > 0)
            _buffer = GC.AllocateUninitializedArray<byte>((int)packs.Max(pack => pack.Size));
        foreach (var group in packs.OrderBy(pack => pack.Rank).GroupBy(pack => (pack.Name.Writer, pack.Name.IsData)))
        {
            var copies = new List<(CollectorPack Pack, IReadOnlyList<StoredBlob> Blobs)>();
            var isFull = false;
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Exception? failure = null;
            var writer = new PackWriter(
                context with { Writer = group.Key.Writer }, run, group.Key.IsData, new RunCounters(), Closed,
                cause =>
                {
                    if (Interlocked.CompareExchange(ref failure, cause, null) is null)
                        stop.Stop();
                },
                stop.Token);
            await using (writer)
            {
                try
                {
                    foreach (var pack in group)
                    {
                        if (await TryMoveAsync(pack, writer, stop.Token) is { } blobs)
                            copies.Add((pack, blobs));
                    }

                    await writer.FinishAsync();
                }
                catch (Exception cause) when ((failure ?? cause) is StoreFullException)
                {
                    isFull = true; // sparse packs are moved where there is room; what is dead goes all the same
                }
                catch (OperationCanceledException) when (failure is not null)
                {
                    throw failure;
                }
            }

            emptied.AddRange(copies.Where(copy => copy.Blobs.All(blob => blob.IsDurable)).Select(copy => copy.Pack));
            if (isFull)
                break;
        }

        return emptied;
    }

    private Task Closed(OpenPack pack)
    {
        lock (_moved)
            _moved.Add(new MovedPack(new IndexedPack(pack.Name!, (uint)pack.Length), pack.Entries));
        return Task.CompletedTask;
    }

    private async Task<IReadOnlyList<StoredBlob>?> TryMoveAsync(CollectorPack pack, PackWriter writer, CancellationToken cancellationToken)
    {
        var length = (int)pack.Size;
        var bytes = _buffer.AsMemory(0, length);
        if (await ReadAsync(pack, bytes, cancellationToken) is not { } contents)
            return null;
        var number = index.NumberOf(pack.Name);
        var needed = contents.Where(entry => IsNeeded(entry, number) && entry.Offset + (long)entry.Length <= length).ToArray();
        if (needed.Length != pack.LiveBlobs)
            return null;
        var blobs = new List<StoredBlob>(needed.Length);
        foreach (var entry in needed)
        {
            blobs.Add(new StoredBlob());
            await writer.AppendAsync(
                blobs[^1], entry.Id, (int)entry.PlainLength, entry.Kind, entry.Compression,
                bytes.Slice((int)entry.Offset, (int)entry.Length));
        }

        return blobs;
    }

    private bool IsNeeded(PackEntry entry, uint pack)
    {
        var slot = index.SlotOf(entry.Id, pack);
        return slot >= 0 && (index.Table.Marks(slot) & CopyJudge.Needed) != 0 && index.Table.Get(slot).Offset == entry.Offset;
    }

    private async Task<PackEntry[]?> ReadAsync(CollectorPack pack, Memory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            if (await context.Store.ReadAsync(pack.Name.Key, 0, bytes, cancellationToken) != bytes.Length)
                return null;
        }
        catch (ObjectMissingException)
        {
            return null;
        }

        if (rules.HashBeforeMove && BlobId.From(SHA256.HashData(bytes.Span)) != pack.Name.Hash)
            return null;
        return PackContents.TryReadFooter(bytes.Span[^PackContents.FooterSize..], bytes.Length) is { } place
            ? CollectorSegments.OpenContents(context, place.Id, bytes.Span.Slice((int)place.Offset, (int)place.Length))
            : null;
    }
}
