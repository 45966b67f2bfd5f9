// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>Which entries of a segment count: all, or those that the packs they are about agree with.</summary>
internal sealed class AcceptedEntries(IReadOnlyDictionary<int, HashSet<PackEntry>?> foreign)
{
    /// <summary>Whether a pack of the segment is what it says.</summary>
    public bool Accepts(int pack) => !foreign.TryGetValue(pack, out var contents) || contents is not null;

    public bool Accepts(in IndexEntry entry) => entry.Length is >= BlobSealer.Overhead and <= StorageLimits.MaxBlob
        && (!foreign.TryGetValue((int)entry.Pack, out var contents) || contents?.Contains(
            new PackEntry(entry.Id, entry.Offset, entry.Length, entry.PlainLength, entry.Kind, entry.Compression)) == true);
}

/// <summary>Reading segments and packs as a collector does: nothing is taken on trust.</summary>
internal static class CollectorSegments
{
    /// <exception cref="RepositoryDamagedException">It is missing or not what was written.</exception>
    public static async Task<IndexSegment> ReadAsync(
        RepositoryContext context, SegmentReference segment, CancellationToken cancellationToken)
    {
        var content = await context.Store.TryReadAllAsync(segment.Key, StorageLimits.MaxSealedObject, cancellationToken)
            ?? throw new RepositoryDamagedException(segment.Key, "an index segment", "no such object");
        if (segment.Sha256.Length > 0 && Convert.ToHexStringLower(SHA256.HashData(content)) is var actual && actual != segment.Sha256)
            throw new RepositoryDamagedException(segment.Key, $"SHA-256 '{segment.Sha256}'", $"'{actual}'");
        var read = IndexSegment.Read(segment.Key, context.Open(segment.Key, content));
        for (var i = 0; i < read.Count; i++)
        {
            if (read[i].Pack >= read.Packs.Count)
                throw new RepositoryDamagedException(segment.Key, $"{read.Packs.Count} packs", $"an entry of pack {read[i].Pack}");
        }

        return read;
    }

    /// <summary>A run may say what it wrote; of other runs' packs their own contents say what they hold.</summary>
    /// <param name="context">The repository.</param>
    /// <param name="segment">What a run, or a collector, says.</param>
    /// <param name="origin">The run; null for a collector.</param>
    /// <param name="unread">Told of packs that the store fails for good to read, whose entries then count; without it that is
    /// thrown.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static async Task<AcceptedEntries> AcceptedAsync(
        RepositoryContext context, IndexSegment segment, RunId? origin, Action<string, StoreException>? unread,
        CancellationToken cancellationToken)
    {
        var foreign = new ConcurrentDictionary<int, HashSet<PackEntry>?>();
        var numbers = Enumerable.Range(0, origin is null ? 0 : segment.Packs.Count).Where(i => segment.Packs[i].Name.Run != origin);
        await Parallel.ForEachAsync(numbers, context.Scheduler.AtOnce(context.Store.ReadsAtOnce, cancellationToken), async (i, token) =>
        {
            var pack = segment.Packs[i];
            try
            {
                foreign[i] = await ReadContentsAsync(context, pack.Name, pack.Size, token) is { } entries ? [.. entries] : null;
            }
            catch (StoreException failure) when (unread is not null && !failure.IsTransient)
            {
                unread(pack.Name.Key, failure);
            }
        });
        return new AcceptedEntries(foreign);
    }

    /// <summary>What a pack says it holds, or null when it is missing, of another size, or does not open.</summary>
    public static async Task<PackEntry[]?> ReadContentsAsync(
        RepositoryContext context, PackName name, long size, CancellationToken cancellationToken)
    {
        try
        {
            if (await context.Store.HeadAsync(name.Key, cancellationToken) is not { } info || info.Size != size
                || size < PackContents.FooterSize)
                return null;
            var footer = new byte[PackContents.FooterSize];
            await context.Store.ReadAsync(name.Key, size - footer.Length, footer, cancellationToken);
            if (PackContents.TryReadFooter(footer, size) is not { } place)
                return null;
            var blob = new byte[place.Length];
            await context.Store.ReadAsync(name.Key, place.Offset, blob, cancellationToken);
            return OpenContents(context, place.Id, blob);
        }
        catch (ObjectMissingException)
        {
            return null;
        }
    }

    public static PackEntry[]? OpenContents(RepositoryContext context, in BlobId id, ReadOnlySpan<byte> blob)
    {
        var plain = new byte[blob.Length];
        using var codec = context.Codecs.Rent();
        var length = BlobSealer.TryOpen(context.Keys, codec.Codec, BlobKind.Contents, in id, blob, new byte[blob.Length], plain);
        return length >= 0 && context.Keys.NodeId(plain.AsSpan(0, length)) == id ? PackContents.TryRead(plain.AsSpan(0, length)) : null;
    }
}
