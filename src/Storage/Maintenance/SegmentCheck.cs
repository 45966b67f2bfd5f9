// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// Reads every index segment, and asks whether the packs they name are there with their sizes. What it finds goes to the findings.
/// </summary>
internal sealed class SegmentCheck(RepositoryContext context, VerifyFindings findings)
{
    /// <summary>Segments that could be read.</summary>
    public int Count { get; private set; }

    /// <summary>Checks the segments that count and those that these points name; returns their keys.</summary>
    public async Task<IReadOnlyList<string>> RunAsync(IReadOnlyList<RestorePoint> points, CancellationToken cancellationToken)
    {
        while (true)
        {
            var known = findings.Damage.ToArray();
            var (epoch, segments) = await CheckAllAsync(points, cancellationToken);
            if (findings.Damage.Count == known.Length
                || (await IndexListing.ReadAsync(context, forWriting: false, cancellationToken)).Epoch == epoch)
                return segments;
            // A collector was at work meanwhile: what seems missing may be folded, moved or collected.
            findings.Reset(known);
        }
    }

    private async Task<(int Epoch, IReadOnlyList<string> Segments)> CheckAllAsync(
        IReadOnlyList<RestorePoint> points, CancellationToken cancellationToken)
    {
        Count = 0;
        var listing = await IndexListing.ReadAsync(context, forWriting: false, cancellationToken);
        var expected = listing.Segments.ToDictionary(key => key, _ => (string?)null, StringComparer.Ordinal);
        foreach (var point in points)
        {
            foreach (var segment in point.Index.Where(segment => !listing.Superseded.Contains(segment.Key)))
                expected[segment.Key] = segment.Sha256;
        }

        foreach (var (key, hash) in expected)
        {
            if (await ReadSegmentAsync(key, hash, cancellationToken) is not { } segment)
                continue;
            Count++;
            foreach (var pack in segment.Packs)
                await CheckPackAsync(pack, segment.IsHearsay(pack), cancellationToken);
            await CheckHearsayAsync(key, segment, cancellationToken);
        }

        return (listing.Epoch, [.. expected.Keys]);
    }

    // What a run says of other runs' packs must be what those packs hold: else someone tried to lead the hosts astray.
    private async Task CheckHearsayAsync(string key, IndexSegment segment, CancellationToken cancellationToken)
    {
        if (!segment.Packs.Any(segment.IsHearsay))
            return;
        var accepted = await CollectorSegments.AcceptedAsync(
            context, segment, ObjectNames.RunOfSegment(key), findings.AddUnread, cancellationToken);
        for (var i = 0; i < segment.Count; i++)
        {
            if (segment[i].Pack >= segment.Packs.Count || !accepted.Accepts(segment[i]))
            {
                findings.Add(new RepositoryDamagedException(
                    key, "what the packs it names hold", $"something else of packs of another run, for blob '{segment[i].Id}'"));
                return;
            }
        }
    }

    private async Task<IndexSegment?> ReadSegmentAsync(string key, string? hash, CancellationToken cancellationToken)
    {
        try
        {
            var content = await context.Store.TryReadAllAsync(key, StorageLimits.MaxSealedObject, cancellationToken)
                ?? throw new RepositoryDamagedException(key, "an index segment", "no such object");
            var actual = Convert.ToHexStringLower(SHA256.HashData(content));
            if (hash is not null && hash != actual)
                throw new RepositoryDamagedException(key, $"SHA-256 '{hash}'", $"'{actual}'");
            return IndexSegment.Read(key, context.Open(key, content));
        }
        catch (RepositoryDamagedException failure)
        {
            findings.Add(key, failure.Message);
            return null;
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            findings.AddUnread(key, failure);
            return null;
        }
    }

    // What is missing from the listing may have been written since: the store is asked again. A wrong size in hearsay is the segment's
    // fault, which the look at hearsay tells.
    private async ValueTask CheckPackAsync(IndexedPack pack, bool isHearsay, CancellationToken cancellationToken)
    {
        var key = pack.Name.Key;
        if (findings.Damage.ContainsKey(key))
            return;
        try
        {
            if ((!findings.Packs.TryGetValue(key, out var size) || size != pack.Size)
                && await context.Store.HeadAsync(key, cancellationToken) is { } info)
                findings.Packs[key] = info.Size;
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            findings.AddUnread(key, failure);
            return;
        }

        if (!findings.Packs.TryGetValue(key, out var found))
            findings.Add(new RepositoryDamagedException(key, $"a pack of {pack.Size} bytes", "no such object"));
        else if (found != pack.Size && !isHearsay)
            findings.Add(new RepositoryDamagedException(key, $"a pack of {pack.Size} bytes", $"{found}"));
    }
}
