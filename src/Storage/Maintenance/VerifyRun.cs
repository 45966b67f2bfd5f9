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
    private const int MaxUnread = 100; // more: the store is broken, not a pack
    private readonly Repository _repository;
    private readonly RepositoryContext _context;
    private readonly BlobReader _blobs;
    private readonly ConcurrentDictionary<string, string> _damage = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<BlobId, string> _damagedBlobs = [];
    private readonly ConcurrentDictionary<string, string> _unread = new(StringComparer.Ordinal);
    private readonly HashSet<string> _sound = new(StringComparer.Ordinal);
    private readonly IProgress<long>? _progress;
    private long _bytes;
    private long _opened;
    private int _segments;

    public VerifyRun(Repository repository, IProgress<long>? progress)
    {
        _repository = repository;
        _context = repository.Context.Fresh();
        _blobs = new BlobReader(_context);
        _progress = progress;
    }

    public async Task<VerifyResult> RunAsync(PointListing points, VerifyOptions options, CancellationToken cancellationToken)
    {
        var level = options.Level;
        var readable = points.Points.Where(point => level != VerifyLevel.Data || _repository.Opens(point.Domain)).ToArray();
        foreach (var failure in points.Damaged)
            _damage[failure.DamagedObject] = failure.Message;
        foreach (var (key, failure) in points.Unread)
            AddUnread(key, failure);
        var packs = new Dictionary<string, long>(StringComparer.Ordinal);
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
            packs.Add(info.Key, info.Size);
        var keys = new DataKeys(_context.Keys, await KeyDomain.ListAsync(_context.Store, cancellationToken));
        var segments = await CheckSegmentsAsync(points.Points, packs, cancellationToken);
        var ledger = await ScrubLedger.ReadAsync(_context, cancellationToken);
        if (level == VerifyLevel.Packs || (level == VerifyLevel.Data && options.Budget is not null))
        {
            var due = ScrubPlan.Choose(packs, pack => ledger.LastCheck(pack, level), options.Budget);
            await HashPacksAsync(due.Where(key => !_damage.ContainsKey(key)).ToArray(), cancellationToken);
            if (level == VerifyLevel.Data)
                await OpenPacksAsync(due, segments, keys, cancellationToken);
            await ledger.EnterAsync(level, [.. _sound.Select(PackName.TryParse).OfType<PackName>()], cancellationToken);
        }

        var recorded = await Quarantine.ReadAsync(_context, cancellationToken);
        long blobs = Interlocked.Read(ref _opened);
        if (level == VerifyLevel.Data && options.Budget is null)
        {
            blobs = await ReadPointsAsync(readable, cancellationToken);
            // What was damaged once may have been put right by hand: its hash tells.
            await HashPacksAsync([.. recorded.Keys.Where(key => packs.ContainsKey(key) && !_damage.ContainsKey(key))], cancellationToken);
        }

        var findings = new VerifyFindings(
            packs, _damage, _sound, _damagedBlobs, recorded, keys, level == VerifyLevel.Quick);
        return await ResultAsync(points.Points, findings, segments, options, cancellationToken) with
        {
            Points = points.Points.Count,
            OtherDomains = points.Points.Count - readable.Length,
            Segments = _segments,
            Packs = packs.Count,
            Blobs = blobs,
            Bytes = Interlocked.Read(ref _bytes),
            CheckedPacks = _sound.Count,
            OldestCheck = packs.Keys.Select(PackName.TryParse).OfType<PackName>()
                .Min(pack => (DateTimeOffset?)ledger.LastCheck(pack, level == VerifyLevel.Data ? level : VerifyLevel.Packs)),
        };
    }

    public void Dispose()
    {
        _blobs.Dispose();
        _context.Dispose();
    }

    internal static IEnumerable<TreeRef> TreesOf(RestorePoint point) =>
        point.Disks.Select(disk => disk.Tree).Concat(point.Files.Select(file => file.Tree));

    // Every chunk and node of these points, with the data keys of each point's domain.
    private async Task<long> ReadPointsAsync(IEnumerable<RestorePoint> points, CancellationToken cancellationToken)
    {
        long blobs = 0;
        foreach (var domain in points.GroupBy(point => point.Domain, StringComparer.Ordinal))
        {
            var context = _context.In(domain.Key);
            using var reader = new BlobReader(context, _blobs);
            var walk = new DataWalk(context, reader, ReportBlob, Advance);
            foreach (var tree in domain.SelectMany(TreesOf))
                await walk.AddTreeAsync(tree, cancellationToken);
            await walk.FinishAsync(cancellationToken);
            blobs += walk.Blobs;
        }

        return blobs;
    }

    private async Task<IReadOnlyList<string>> CheckSegmentsAsync(
        IReadOnlyList<RestorePoint> points, Dictionary<string, long> packs, CancellationToken cancellationToken)
    {
        while (true)
        {
            var known = _damage.ToArray();
            var (epoch, segments) = await CheckSegmentsOnceAsync(points, packs, cancellationToken);
            if (_damage.Count == known.Length
                || (await IndexListing.ReadAsync(_context, forWriting: false, cancellationToken)).Epoch == epoch)
                return segments;
            // A collector was at work meanwhile: what seems missing may be folded, moved or collected.
            _damage.Clear();
            foreach (var (key, problem) in known)
                _damage[key] = problem;
        }
    }

    private async Task<(int Epoch, IReadOnlyList<string> Segments)> CheckSegmentsOnceAsync(
        IReadOnlyList<RestorePoint> points, Dictionary<string, long> packs, CancellationToken cancellationToken)
    {
        _segments = 0;
        var listing = await IndexListing.ReadAsync(_context, forWriting: false, cancellationToken);
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
            _segments++;
            foreach (var pack in segment.Packs)
                await CheckPackAsync(pack, packs, cancellationToken);
            await CheckHearsayAsync(key, segment, cancellationToken);
        }

        return (listing.Epoch, [.. expected.Keys]);
    }

    // What a run says of other runs' packs must be what those packs hold: else someone tried to lead the hosts astray.
    private async Task CheckHearsayAsync(string key, IndexSegment segment, CancellationToken cancellationToken)
    {
        if (!segment.Packs.Any(segment.IsHearsay))
            return;
        var accepted = await CollectorSegments.AcceptedAsync(_context, segment, ObjectNames.RunOfSegment(key), cancellationToken);
        for (var i = 0; i < segment.Count; i++)
        {
            if (segment[i].Pack >= segment.Packs.Count || !accepted.Accepts(segment[i]))
            {
                _damage[key] = new RepositoryDamagedException(
                    key, "what the packs it names hold", $"something else of packs of another run, for blob '{segment[i].Id}'").Message;
                return;
            }
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
        catch (StoreException failure) when (!failure.IsTransient)
        {
            AddUnread(key, failure);
            return null;
        }
    }

    // What is missing from the listing may have been written since: the store is asked again.
    private async ValueTask CheckPackAsync(IndexedPack pack, Dictionary<string, long> packs, CancellationToken cancellationToken)
    {
        var key = pack.Name.Key;
        if (_damage.ContainsKey(key))
            return;
        if ((!packs.TryGetValue(key, out var size) || size != pack.Size)
            && await _context.Store.HeadAsync(key, cancellationToken) is { } info)
            packs[key] = size = info.Size;
        if (!packs.ContainsKey(key))
            _damage[key] = new RepositoryDamagedException(key, $"a pack of {pack.Size} bytes", "no such object").Message;
        else if (size != pack.Size)
            _damage[key] = new RepositoryDamagedException(key, $"a pack of {pack.Size} bytes", $"{size}").Message;
    }

    // Every blob of these packs, whether a point reaches it or not.
    private async Task OpenPacksAsync(
        IReadOnlyList<string> packs, IReadOnlyList<string> segments, DataKeys keys, CancellationToken cancellationToken)
    {
        var wanted = packs.ToHashSet(StringComparer.Ordinal);
        var options = _context.Scheduler.AtOnce(Environment.ProcessorCount, cancellationToken);
        var entries = PackEntries.OfAsync(_context, segments, pack => wanted.Contains(pack), cancellationToken);
        await Parallel.ForEachAsync(entries, options, async (entry, token) =>
        {
            Interlocked.Increment(ref _opened);
            if (_damage.ContainsKey(entry.Pack) || _unread.ContainsKey(entry.Pack)
                || await OpensAsync(keys, entry.Pack, entry.Entry, token))
                return;
            _damage[entry.Pack] = new RepositoryDamagedException(
                entry.Pack, $"blob '{entry.Entry.Id}' at offset {entry.Entry.Offset}", "bytes that do not open as it").Message;
            lock (_sound)
                _sound.Remove(entry.Pack);
        });
    }

    private async ValueTask<bool> OpensAsync(DataKeys keys, string pack, IndexEntry entry, CancellationToken cancellationToken)
    {
        try
        {
            return await BlobProbe.OpensAsync(_context, keys, pack, entry, cancellationToken);
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            AddUnread(pack, failure);
            lock (_sound)
                _sound.Remove(pack);
            return true; // nothing is said against it
        }
    }

    private async Task HashPacksAsync(IReadOnlyList<string> packs, CancellationToken cancellationToken)
    {
        var options = _context.Scheduler.AtOnce(Environment.ProcessorCount, cancellationToken);
        await Parallel.ForEachAsync(packs, options, async (key, token) =>
        {
            try
            {
                var actual = await HashAsync(key, token);
                if (PackName.TryParse(key)?.Hash != actual)
                    _damage[key] = new RepositoryDamagedException(key, "bytes with the SHA-256 of its name", $"'{actual}'").Message;
                else
                    MarkSound(key);
            }
            catch (ObjectMissingException)
            {
                return; // deleted by maintenance since it was listed
            }
            catch (StoreException failure) when (!failure.IsTransient)
            {
                AddUnread(key, failure);
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

    private void ReportBlob(BlobId id, BlobLocation location, Exception failure)
    {
        if (failure is RepositoryDamagedException damage)
            ReportDamage(id, damage);
        else
            AddUnread(location.Pack?.Key ?? ObjectNames.Index, (StoreException)failure);
    }

    private void ReportDamage(BlobId id, RepositoryDamagedException damage)
    {
        _damagedBlobs[id] = damage.DamagedObject;
        _damage.TryAdd(damage.DamagedObject, damage.Message);
    }

    // A bad sector, say: the rest is looked at all the same (I20).
    private void AddUnread(string key, StoreException failure)
    {
        if (_unread.Count >= MaxUnread && !_unread.ContainsKey(key))
            throw new StoreException($"More than {MaxUnread} objects can't be read, the last: {failure.Message}", false, failure);
        _unread.TryAdd(key, failure.Message);
    }

    private void MarkSound(string key)
    {
        lock (_sound)
            _sound.Add(key);
    }

    private async Task<VerifyResult> ResultAsync(
        IReadOnlyList<RestorePoint> points, VerifyFindings findings, IReadOnlyList<string> segments, VerifyOptions options,
        CancellationToken cancellationToken)
    {
        var unread = _unread.Select(entry => new UnreadObject(entry.Key, entry.Value)).OrderBy(item => item.Key, StringComparer.Ordinal);
        if (_damage.IsEmpty && findings.Recorded.Count == 0)
            return new VerifyResult { Damaged = [], Unread = [.. unread] };
        var assessment = new DamageAssessment(_context, await _blobs.IndexAsync(cancellationToken), findings);
        await assessment.RunAsync(segments, cancellationToken);
        foreach (var (pack, record) in findings.Recorded)
        {
            if (assessment.Damaged.ContainsKey(pack))
                _damage.TryAdd(pack, record.Problem);
        }

        var affected = await ReachAsync(points, assessment, cancellationToken);
        var written = options.Quarantine ? await QuarantineAsync(assessment, findings, cancellationToken) : [];
        // Of all points known, what none needs hurts nothing, lost or not.
        var hurting = options.Only is null
            ? affected.Keys.ToHashSet(StringComparer.Ordinal)
            : assessment.Lost.Values.SelectMany(packs => packs).ToHashSet(StringComparer.Ordinal);
        var healed = _damage.Keys.Where(key => findings.Recorded.ContainsKey(key) && !hurting.Contains(key))
            .ToHashSet(StringComparer.Ordinal);
        return new VerifyResult
        {
            Damaged = [.. _damage.Where(entry => !healed.Contains(entry.Key)).OrderBy(entry => entry.Key, StringComparer.Ordinal)
                .Select(entry => new DamagedObject(entry.Key, entry.Value, affected.GetValueOrDefault(entry.Key) ?? []))],
            Healed = [.. healed.Order(StringComparer.Ordinal)],
            Quarantined = written,
            Unread = [.. unread],
        };
    }

    private async Task<Dictionary<string, List<RestorePoint>>> ReachAsync(
        IReadOnlyList<RestorePoint> points, DamageAssessment assessment, CancellationToken cancellationToken)
    {
        var affected = new Dictionary<string, List<RestorePoint>>(StringComparer.Ordinal);
        foreach (var point in points)
        {
            var key = ObjectNames.Point(point.MachineId, point.Id);
            if (_damage.ContainsKey(key))
                affected[key] = [point]; // it opens, and is not the one that was made
        }

        if (assessment.Lost.Count == 0)
            return affected;
        var reach = new DamageReach(_blobs, assessment.Lost, (id, failure) =>
        {
            ReportDamage(id, failure);
            assessment.AddLost(id, failure.DamagedObject);
        });
        foreach (var point in points)
        {
            foreach (var key in await reach.OfAsync(point, cancellationToken))
            {
                if (!affected.TryGetValue(key, out var hurt))
                    affected.Add(key, hurt = []);
                hurt.Add(point);
            }
        }

        return affected;
    }

    // I20: only what was read and is wrong, or is gone from a store that still answers.
    private async Task<IReadOnlyList<string>> QuarantineAsync(
        DamageAssessment assessment, VerifyFindings findings, CancellationToken cancellationToken)
    {
        var written = new List<string>();
        foreach (var (pack, ids) in assessment.Damaged.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            IReadOnlySet<BlobId>? blobs = assessment.Whole.Contains(pack) ? null : ids;
            var known = findings.Recorded.GetValueOrDefault(pack);
            if (known?.Covers(blobs) == true || PackName.TryParse(pack) is null)
                continue;
            if (await _context.Store.HeadAsync(ObjectNames.Config, cancellationToken) is null)
                throw new StoreException($"'{_context.Store.Description}' does not show its config any more.", isTransient: true);
            try
            {
                await Quarantine.AddAsync(_context, pack, blobs, _damage[pack], known, cancellationToken);
                written.Add(pack);
            }
            catch (StoreException failure) when (!failure.IsTransient)
            {
                break; // who may not write there has looked all the same
            }
        }

        return written;
    }
}
