// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// One verification. Reads everything afresh: nothing this process has cached counts. What it finds is collected, not thrown; a store
/// that fails is thrown. Memory: the list of packs, the index, a mark per blob.
/// </summary>
internal sealed class VerifyRun : IDisposable
{
    private const int HashBlock = 1 << 20;
    private readonly RepositoryContext _context;
    private readonly BlobReader _blobs;
    private readonly ConcurrentDictionary<string, string> _damage = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, RestorePoint> _ownPoint = new(StringComparer.Ordinal);
    private readonly HashSet<BlobId> _damagedBlobs = [];
    private readonly IProgress<long>? _progress;
    private long _bytes;
    private int _segments;

    public VerifyRun(RepositoryContext context, IProgress<long>? progress)
    {
        _context = context.Fresh();
        _blobs = new BlobReader(_context);
        _progress = progress;
    }

    public async Task<VerifyResult> RunAsync(PointListing points, VerifyLevel level, CancellationToken cancellationToken)
    {
        foreach (var failure in points.Damaged)
            _damage[failure.DamagedObject] = failure.Message;
        var packs = new Dictionary<string, long>(StringComparer.Ordinal);
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
            packs.Add(info.Key, info.Size);
        await CheckSegmentsAsync(points.Points, packs, cancellationToken);
        if (level == VerifyLevel.Packs)
            await HashPacksAsync(packs, cancellationToken);
        long blobs = 0;
        if (level == VerifyLevel.Data)
        {
            var walk = new DataWalk(_context, _blobs, ReportBlob, Advance);
            foreach (var tree in points.Points.SelectMany(TreesOf))
                await walk.AddTreeAsync(tree, cancellationToken);
            await walk.FinishAsync(cancellationToken);
            blobs = walk.Blobs;
        }

        return new VerifyResult
        {
            Damaged = await ResultAsync(points.Points, cancellationToken),
            Points = points.Points.Count,
            Segments = _segments,
            Packs = packs.Count,
            Blobs = blobs,
            Bytes = Interlocked.Read(ref _bytes),
        };
    }

    public void Dispose()
    {
        _blobs.Dispose();
        _context.Dispose();
    }

    internal static IEnumerable<TreeRef> TreesOf(RestorePoint point) =>
        point.Disks.Select(disk => disk.Tree).Concat(point.Files.Select(file => file.Tree));

    private async Task CheckSegmentsAsync(
        IReadOnlyList<RestorePoint> points, Dictionary<string, long> packs, CancellationToken cancellationToken)
    {
        var listing = await IndexListing.ReadAsync(_context, forWriting: false, cancellationToken);
        var expected = listing.Segments.ToDictionary(key => key, _ => (string?)null, StringComparer.Ordinal);
        foreach (var point in points)
        {
            foreach (var segment in point.Index.Where(segment => !listing.Superseded.Contains(segment.Key)))
            {
                expected[segment.Key] = segment.Sha256;
                _ownPoint[segment.Key] = point;
            }
        }

        foreach (var (key, hash) in expected)
        {
            if (await ReadSegmentAsync(key, hash, cancellationToken) is not { } segment)
                continue;
            _segments++;
            foreach (var pack in segment.Packs)
                CheckPack(pack, packs);
        }
    }

    private async Task<IndexSegment?> ReadSegmentAsync(string key, string? hash, CancellationToken cancellationToken)
    {
        try
        {
            var content = await _context.Store.TryReadAllAsync(key, StorageLimits.MaxSealedObject, cancellationToken)
                ?? throw new RepositoryDamagedException(key, "an index segment", "no such object");
            var actual = Convert.ToHexStringLower(SHA256.HashData(content));
            if (hash is not null && hash != actual)
                throw new RepositoryDamagedException(key, $"SHA-256 '{hash}'", $"'{actual}'");
            return IndexSegment.Read(key, _context.Open(key, content));
        }
        catch (RepositoryDamagedException failure)
        {
            _damage[key] = failure.Message;
            return null;
        }
    }

    private void CheckPack(IndexedPack pack, Dictionary<string, long> packs)
    {
        var key = pack.Name.Key;
        if (!packs.TryGetValue(key, out var size))
            _damage[key] = new RepositoryDamagedException(key, $"a pack of {pack.Size} bytes", "no such object").Message;
        else if (size != pack.Size)
            _damage[key] = new RepositoryDamagedException(key, $"a pack of {pack.Size} bytes", $"{size}").Message;
    }

    private async Task HashPacksAsync(Dictionary<string, long> packs, CancellationToken cancellationToken)
    {
        var options = _context.Scheduler.AtOnce(Environment.ProcessorCount, cancellationToken);
        await Parallel.ForEachAsync(packs.Keys.Where(key => !_damage.ContainsKey(key)), options, async (key, token) =>
        {
            try
            {
                var actual = await HashAsync(key, token);
                if (PackName.TryParse(key)?.Hash != actual)
                    _damage[key] = new RepositoryDamagedException(key, "bytes with the SHA-256 of its name", $"'{actual}'").Message;
            }
            catch (ObjectMissingException)
            {
                return; // deleted by maintenance since it was listed
            }
        });
    }

    private async Task<BlobId> HashAsync(string key, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var block = new byte[HashBlock];
        for (long offset = 0; ;)
        {
            var read = await _context.Store.ReadAsync(key, offset, block, cancellationToken);
            hash.AppendData(block, 0, read);
            offset += read;
            Advance(read);
            if (read < block.Length)
                return BlobId.From(hash.GetHashAndReset());
        }
    }

    private void Advance(long bytes)
    {
        var total = Interlocked.Add(ref _bytes, bytes);
        _progress?.Report(total);
    }

    private void ReportBlob(BlobId id, RepositoryDamagedException failure)
    {
        lock (_damagedBlobs)
            _damagedBlobs.Add(id);
        _damage.TryAdd(failure.DamagedObject, failure.Message);
    }

    private async Task<IReadOnlyList<DamagedObject>> ResultAsync(IReadOnlyList<RestorePoint> points, CancellationToken cancellationToken)
    {
        if (_damage.IsEmpty)
            return [];
        var reach = new DamageReach(_blobs, [.. _damage.Keys], _damagedBlobs);
        var affected = _damage.Keys.ToDictionary(key => key, _ => new List<RestorePoint>(), StringComparer.Ordinal);
        foreach (var point in points)
        {
            foreach (var key in await reach.OfAsync(point, cancellationToken))
                affected[key].Add(point);
        }

        return [.. _damage.OrderBy(entry => entry.Key, StringComparer.Ordinal).Select(
            entry => new DamagedObject(entry.Key, entry.Value, affected[entry.Key]))];
    }
}
