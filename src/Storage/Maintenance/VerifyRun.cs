// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// One verification. Reads everything afresh: nothing this process has cached counts. What it finds is collected, not thrown; a store
/// that fails is thrown. Memory: the list of packs, the index, a mark per blob.
/// </summary>
internal sealed class VerifyRun : IDisposable
{
    private readonly Repository _repository;
    private readonly RepositoryContext _context;
    private readonly VerifyFindings _findings = new();
    private readonly BlobReader _blobs;
    private readonly IProgress<long>? _progress;
    private long _bytes;

    public VerifyRun(Repository repository, IProgress<long>? progress)
    {
        _repository = repository;
        _context = repository.Context.Fresh();
        _blobs = new BlobReader(_context) { Unread = _findings.AddUnread };
        _progress = progress;
    }

    public async Task<VerifyResult> RunAsync(PointListing points, VerifyOptions options, CancellationToken cancellationToken)
    {
        var level = options.Level;
        var readable = points.Points.Where(point => level != VerifyLevel.Data || _repository.Opens(point.Domain)).ToArray();
        await BeginAsync(points, cancellationToken);
        var keys = new DataKeys(_context.Keys, await KeyDomain.ListAsync(_context.Store, cancellationToken));
        var segmentCheck = new SegmentCheck(_context, _findings);
        var segments = await segmentCheck.RunAsync(points.Points, cancellationToken);
        var ledger = await ScrubLedger.ReadAsync(_context, _findings.AddUnread, cancellationToken);
        var packCheck = new PackCheck(_context, _findings, Advance);
        if (level == VerifyLevel.Packs || (level == VerifyLevel.Data && options.Budget is not null))
        {
            var due = ScrubPlan.Choose(_findings.Packs, pack => ledger.LastCheck(pack, level), options.Budget);
            await packCheck.HashAsync([.. due.Where(key => !_findings.Damage.ContainsKey(key))], cancellationToken);
            if (level == VerifyLevel.Data)
                await packCheck.OpenAsync(due, segments, keys, cancellationToken);
            await ledger.EnterAsync(level, [.. _findings.Sound.Select(PackName.TryParse).OfType<PackName>()], cancellationToken);
        }

        _findings.Recorded = await Quarantine.ReadAsync(_context, _findings.AddUnread, cancellationToken);
        var blobs = packCheck.Opened;
        if (level == VerifyLevel.Data && options.Budget is null)
        {
            blobs = await ReadPointsAsync(readable, cancellationToken);
            // What was damaged once may have been put right by hand: its hash tells.
            var doubted = _findings.Recorded.Keys.Where(key => _findings.Packs.ContainsKey(key) && !_findings.Damage.ContainsKey(key));
            await packCheck.HashAsync([.. doubted], cancellationToken);
        }

        var assessment = new DamageAssessment(_context, _blobs, _findings, keys, level == VerifyLevel.Quick);
        return await ResultAsync(points.Points, assessment, segments, options, cancellationToken) with
        {
            Points = points.Points.Count,
            OtherDomains = points.Points.Count - readable.Length,
            Segments = segmentCheck.Count,
            Packs = _findings.Packs.Count,
            Blobs = blobs,
            Bytes = Interlocked.Read(ref _bytes),
            CheckedPacks = _findings.Sound.Count,
            OldestCheck = _findings.Packs.Keys.Select(PackName.TryParse).OfType<PackName>()
                .Min(pack => (DateTimeOffset?)ledger.LastCheck(pack, level == VerifyLevel.Data ? level : VerifyLevel.Packs)),
        };
    }

    public void Dispose()
    {
        _blobs.Dispose();
        _context.Dispose();
    }

    private async Task BeginAsync(PointListing points, CancellationToken cancellationToken)
    {
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Packs, cancellationToken))
            _findings.Packs.Add(info.Key, info.Size);
        foreach (var failure in points.Damaged)
            _findings.Add(failure);
        foreach (var (key, failure) in points.Unread)
            _findings.AddUnread(key, failure);
    }

    // Every chunk and node of these points, with the data keys of each point's domain.
    private async Task<long> ReadPointsAsync(IEnumerable<RestorePoint> points, CancellationToken cancellationToken)
    {
        long blobs = 0;
        foreach (var domain in points.GroupBy(point => point.Domain, StringComparer.Ordinal))
        {
            var context = _context.In(domain.Key);
            using var reader = new BlobReader(context, _blobs);
            var walk = new DataWalk(context, reader, Failed, Advance);
            foreach (var tree in domain.SelectMany(point => point.Trees))
                await walk.AddTreeAsync(tree, cancellationToken);
            await walk.FinishAsync(cancellationToken);
            blobs += walk.Blobs;
        }

        return blobs;

        void Failed(BlobId id, BlobLocation location, Exception failure)
        {
            if (failure is RepositoryDamagedException damage)
                _findings.AddBlob(id, damage);
            else
                _findings.AddUnread(location.Pack?.Key ?? ObjectNames.Index, (StoreException)failure);
        }
    }

    private void Advance(long bytes)
    {
        var total = Interlocked.Add(ref _bytes, bytes);
        _progress?.Report(total);
    }

    private async Task<VerifyResult> ResultAsync(
        IReadOnlyList<RestorePoint> points, DamageAssessment assessment, IReadOnlyList<string> segments, VerifyOptions options,
        CancellationToken cancellationToken)
    {
        if (_findings.Damage.Count == 0 && _findings.Recorded.Count == 0)
            return new VerifyResult { Damaged = [], Unread = Unread() };
        await assessment.RunAsync(segments, cancellationToken);
        foreach (var (pack, record) in _findings.Recorded)
        {
            if (assessment.Damaged.ContainsKey(pack))
                _findings.AddRecorded(pack, record.Problem);
        }

        var affected = await ReachAsync(points, assessment, cancellationToken);
        var written = options.Quarantine ? await QuarantineAsync(assessment, cancellationToken) : [];
        // Of all points known, what none needs hurts nothing, lost or not.
        var hurting = options.Only is null
            ? affected.Keys.ToHashSet(StringComparer.Ordinal)
            : assessment.Lost.Values.SelectMany(packs => packs).ToHashSet(StringComparer.Ordinal);
        var healed = _findings.Damage.Keys.Where(key => _findings.Recorded.ContainsKey(key) && !hurting.Contains(key))
            .ToHashSet(StringComparer.Ordinal);
        return new VerifyResult
        {
            Damaged = [.. _findings.Damage.Where(entry => !healed.Contains(entry.Key)).OrderBy(entry => entry.Key, StringComparer.Ordinal)
                .Select(entry => new DamagedObject(entry.Key, entry.Value, affected.GetValueOrDefault(entry.Key) ?? []))],
            Healed = [.. healed.Order(StringComparer.Ordinal)],
            Quarantined = written,
            Unread = Unread(),
        };
    }

    private UnreadObject[] Unread() =>
        [.. _findings.Unread.Select(entry => new UnreadObject(entry.Key, entry.Value)).OrderBy(item => item.Key, StringComparer.Ordinal)];

    private async Task<Dictionary<string, List<RestorePoint>>> ReachAsync(
        IReadOnlyList<RestorePoint> points, DamageAssessment assessment, CancellationToken cancellationToken)
    {
        var affected = new Dictionary<string, List<RestorePoint>>(StringComparer.Ordinal);
        foreach (var point in points)
        {
            var key = ObjectNames.Point(point.MachineId, point.Id);
            if (_findings.Damage.ContainsKey(key))
                affected[key] = [point]; // it opens, and is not the one that was made
        }

        if (assessment.Lost.Count == 0)
            return affected;
        var reach = new DamageReach(_blobs, assessment.Lost, (id, failure) =>
        {
            _findings.AddBlob(id, failure);
            assessment.AddLost(id, failure.DamagedObject);
        }, _findings.AddUnread);
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
    private async Task<IReadOnlyList<string>> QuarantineAsync(DamageAssessment assessment, CancellationToken cancellationToken)
    {
        var written = new List<string>();
        foreach (var (pack, ids) in assessment.Damaged.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            IReadOnlySet<BlobId>? blobs = assessment.Whole.Contains(pack) ? null : ids;
            var known = _findings.Recorded.GetValueOrDefault(pack);
            if (known?.Covers(blobs) == true || PackName.TryParse(pack) is null)
                continue;
            try
            {
                if (await _context.Store.HeadAsync(ObjectNames.Config, cancellationToken) is null)
                    throw new StoreException($"'{_context.Store.Description}' does not show its config any more.", isTransient: true);
                await Quarantine.AddAsync(_context, pack, blobs, _findings.Damage[pack], known, cancellationToken);
                written.Add(pack);
            }
            catch (StoreException failure) when (!failure.IsTransient)
            {
                break; // who may not write there, or not read config, has looked all the same
            }
        }

        return written;
    }
}
