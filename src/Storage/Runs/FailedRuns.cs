// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Tidemark.Storage;

/// <summary>A pack that is known by its own contents: of chunks, for one of a failed run.</summary>
internal sealed record AdoptedPack(IndexedPack Pack, IReadOnlyList<PackEntry> Chunks);

/// <summary>
/// Finds the packs that failed runs of this writer left since the machine's last restore point (docs/format.md section 10b). Begun only
/// after the run registered and read what is condemned: that order makes it safe beside a collector.
/// </summary>
internal static class Adoption
{
    private const int ReadsAtOnce = 8;
    private const int TailSize = 64 << 10; // holds the contents of a pack of 1300 chunks; larger ones take a second read

    /// <param name="context">The repository.</param>
    /// <param name="machine">Whose failed runs.</param>
    /// <param name="mayUse">Whether a pack may be used: neither excluded nor in the index.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="StoreException">The store failed: so does the run (I13).</exception>
    public static async Task<IReadOnlyList<AdoptedPack>> FindAsync(
        RepositoryContext context, MachineId machine, Func<PackName, bool> mayUse, CancellationToken cancellationToken)
    {
        var found = new List<(PackName Name, long Size)>();
        foreach (var run in await FailedAsync(context, machine, cancellationToken))
        {
            await foreach (var info in context.Store.ListAsync($"{ObjectNames.Packs}{context.Writer}/{run}/", cancellationToken))
            {
                if (PackName.TryParse(info.Key) is { IsData: true } name && mayUse(name) && info.Size <= uint.MaxValue)
                    found.Add((name, info.Size));
            }
        }

        var adopted = new AdoptedPack?[found.Count];
        var options = context.Scheduler.AtOnce(ReadsAtOnce, cancellationToken);
        await Parallel.ForAsync(0, found.Count, options, async (number, token) =>
            adopted[number] = await TryReadAsync(context, found[number].Name, found[number].Size, BlobKind.Chunk, token));
        return [.. adopted.OfType<AdoptedPack>()];
    }

    private static async Task<IReadOnlyList<RunId>> FailedAsync(
        RepositoryContext context, MachineId machine, CancellationToken cancellationToken)
    {
        var failed = new List<RunId>();
        var newest = "";
        await foreach (var info in context.Store.ListAsync($"{ObjectNames.Points}{machine}/", cancellationToken))
        {
            if (ObjectNames.ParsePoint(info.Key) is not { Disk: null } point)
                continue;
            if (info.Size == 0)
                failed.Add(point.Run);
            else if (string.CompareOrdinal(point.Run.ToString(), newest) > 0)
                newest = point.Run.ToString();
        }

        return [.. failed.Where(run => string.CompareOrdinal(run.ToString(), newest) > 0)];
    }

    /// <summary>What a pack says of itself, blobs of one kind; null when it can't be read so.</summary>
    public static async ValueTask<AdoptedPack?> TryReadAsync(
        RepositoryContext context, PackName name, long size, BlobKind kind, CancellationToken cancellationToken)
    {
        try
        {
            var tail = await ReadEndAsync(context.Store, name, size, TailSize, cancellationToken);
            if (tail.Length < PackContents.FooterSize
                || PackContents.TryReadFooter(tail.AsSpan(^PackContents.FooterSize..), size) is not { } footer)
                return null;
            var length = (int)footer.Length + PackContents.FooterSize;
            if (length > tail.Length)
                tail = await ReadEndAsync(context.Store, name, size, length, cancellationToken);
            if (tail.Length < length || Open(context, footer.Id, tail.AsSpan(tail.Length - length, (int)footer.Length)) is not { } entries)
                return null;
            PackEntry[] blobs = [.. entries.Where(entry => entry.Kind == kind)];
            return blobs.All(entry => entry.Offset + (long)entry.Length <= footer.Offset && entry.Length <= StorageLimits.MaxBlob)
                ? new AdoptedPack(new IndexedPack(name, (uint)size), blobs)
                : null;
        }
        catch (ObjectMissingException)
        {
            return null; // deleted since it was listed
        }
    }

    private static async ValueTask<byte[]> ReadEndAsync(
        IObjectStore store, PackName name, long size, int wanted, CancellationToken cancellationToken)
    {
        var end = new byte[Math.Min(size, wanted)];
        var read = await store.ReadAsync(name.Key, size - end.Length, end, cancellationToken);
        return read == end.Length ? end : [];
    }

    private static PackEntry[]? Open(RepositoryContext context, in BlobId id, ReadOnlySpan<byte> blob)
    {
        var scratch = ArrayPool<byte>.Shared.Rent(Math.Max(1, blob.Length));
        var plain = ArrayPool<byte>.Shared.Rent(Math.Max(1, blob.Length));
        try
        {
            using var codec = context.Codecs.Rent();
            var length = BlobSealer.TryOpen(context.Keys, codec.Codec, BlobKind.Contents, in id, blob, scratch, plain);
            return length >= 0 && context.Keys.NodeId(plain.AsSpan(0, length)) == id
                ? PackContents.TryRead(plain.AsSpan(0, length))
                : null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
            ArrayPool<byte>.Shared.Return(plain);
        }
    }
}
