// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

public sealed partial class Repository
{
    private string? _writeFeature;
    private string? _singleWriter;
    private string? _collectFeature;

    /// <summary>Begins a backup run of a machine: announces it, checks its bases, and reads what may be reused, in this order
    /// (I6).</summary>
    /// <exception cref="BaseUnusableException">A base was deleted or is gone: plan again.</exception>
    /// <exception cref="KeyRoleException">The key opens no guest data, or not that of the run's key domain.</exception>
    /// <exception cref="ArgumentException">A base is of another key domain.</exception>
    /// <exception cref="FormatTooNewException">The repository needs something for writing that this program does not know.</exception>
    /// <exception cref="StoreUnsuitableException">The store is for another writer only.</exception>
    public async Task<BackupRun> BeginRunAsync(MachineId machine, BackupRunOptions options, CancellationToken cancellationToken)
    {
        var domain = options.Domain ?? _context.Keys.Domain;
        var context = _context.In(domain);
        context.Keys.RequireData();
        RefuseDomain(domain, options);
        if (_writeFeature is not null)
            throw new FormatTooNewException(
                $"The repository needs feature '{_writeFeature}' for writing, which this program does not know.");
        RefuseSecondWriter();
        var id = options.Id ?? _context.NewRun();
        if (domain.Length > 0)
            await KeyDomain.RegisterAsync(_context.Store, domain, cancellationToken);
        var rules = options.Rules;
        var trees = options.Bases.SelectMany(point => point.Trees);
        var pins = trees.Where(tree => !tree.Root.IsZero).ToArray();
        var key = rules.RegisterFirst
            ? await AnnounceAsync(RunDocument.Backup, machine.Value, id, pins, cancellationToken)
            : ObjectNames.Run(_context.Writer, machine.Value, id);
        try
        {
            if (rules.CheckBases)
                await CheckBasesAsync(options, cancellationToken);
            var listing = await IndexListing.ReadAsync(_context, forWriting: true, rules, cancellationToken);
            var gone = options.Bases.FirstOrDefault(point => listing.Roster.IsGone(point.Id));
            if (rules.CheckBases && rules.GoneStaysGone && gone is not null)
                throw Unusable(gone);
            var newest = await NewestAsync(machine, cancellationToken);
            if (!rules.RegisterFirst)
                await AnnounceAsync(RunDocument.Backup, machine.Value, id, pins, cancellationToken);
            var start = new RunStart(
                id, machine, key, listing, (newest?.Point.Seq ?? 0) + 1, newest?.Hash, pins.Select(pin => pin.Root).ToHashSet());
            return new BackupRun(context, options, start);
        }
        catch (Exception failure)
        {
            await RevokeQuietlyAsync(machine, id, failure);
            throw;
        }
    }

    /// <summary>
    /// Registers a reader of a point, so that a collector spares what it reads, and opens its disks. A store that can't be written to
    /// gives a reader without that protection.
    /// </summary>
    /// <exception cref="PointGoneException">The point, or a disk of it, was deleted and its time to be brought back is over.</exception>
    public async Task<ReadRun> BeginReadAsync(RestorePoint point, CancellationToken cancellationToken)
    {
        var mark = await MarkReadAsync(point.MachineId.Value, point.Trees, cancellationToken);
        var run = new ReadRun(_context, point, mark);
        try
        {
            // I17: registered first, looked for afterwards.
            if (await IsExpiredAsync(point, cancellationToken))
                throw new PointGoneException($"Restore point '{point.ShortId}' of machine '{point.MachineId}' was deleted.");
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>Registers a reader of trees. Whether they were deleted before is to be looked for afterwards (I17).</summary>
    private async Task<ReadMark> MarkReadAsync(string machine, IEnumerable<TreeRef> trees, CancellationToken cancellationToken)
    {
        const int PinsOfARun = 500_000; // 86 bytes each, in a sealed object of at most 64 MiB
        var mark = new ReadMark(_context);
        try
        {
            foreach (var pins in trees.Where(tree => !tree.Root.IsZero).DistinctBy(tree => (tree.Root, tree.Depth)).Chunk(PinsOfARun))
                mark.Add(await AnnounceAsync(RunDocument.Read, machine, _context.NewRun(), pins, cancellationToken));
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            mark.IsProtected = false;
        }
        catch
        {
            await mark.DisposeAsync();
            throw;
        }

        return mark;
    }

    /// <summary>Ends runs of this host whose processes are gone, by their tombstones; those that had committed stay. The number of runs
    /// that were revoked.</summary>
    public async Task<int> RevokeDeadRunsAsync(CancellationToken cancellationToken)
    {
        var revoked = 0;
        var runs = await RunListing.ReadAsync(_context.Store, _context.Writer, cancellationToken);
        var ended = new HashSet<string>(StringComparer.Ordinal);
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Points, cancellationToken))
            ended.Add(info.Key);
        foreach (var run in runs)
        {
            var fence = ObjectNames.Fence(run.Machine, run.Id);
            if (run.HasEnd || ended.Contains(fence))
                continue;
            var (_, document) = await RunListing.ReadDocumentAsync(_context, run, cancellationToken);
            if (document?.Process is not { } process || document.Host != _context.Host || !_context.Processes.IsGone(process))
                continue;
            if (document.Purpose == RunDocument.Read)
                await _context.Store.PutIfAbsentAsync(run.Key + ".end", ReadOnlyMemory<byte>.Empty, cancellationToken);
            else if (await RunFence.FenceAsync(_context.Store, fence, cancellationToken) == RunEnd.Revoked)
                revoked++;
        }

        return revoked;
    }

    internal async Task<string> AnnounceAsync(
        string purpose, string machine, RunId id, IEnumerable<TreeRef> pins, CancellationToken cancellationToken)
    {
        var key = ObjectNames.Run(_context.Writer, machine, id);
        var document = new RunDocument
        {
            Purpose = purpose,
            Machine = machine,
            Writer = _context.Writer.ToString(),
            Host = _context.Host,
            Time = _context.Clock.GetUtcNow(),
            Process = _context.Processes.Own,
            Pins = [.. pins.Select(tree => new Pin(tree.Root.ToString(), tree.Depth)).Distinct()],
        };
        var content = _context.Close(key, JsonSerializer.SerializeToUtf8Bytes(document, FormatJson.Default.RunDocument));
        if (!await _context.Store.PutIfAbsentAsync(key, content, cancellationToken))
            throw new InvalidOperationException($"Run '{id}' was begun before.");
        return key;
    }

    // Without atomic create nobody could tell whose object it is that two hosts put under one name.
    private void RefuseSecondWriter()
    {
        if (_singleWriter is { } only && only != Writer.ToString())
            throw new StoreUnsuitableException(
                $"Repository '{_context.Store.Description}' was made for a single writer, '{only}', as its store has no atomic create; "
                + $"this host is writer '{Writer}'.");
    }

    private void RefuseDomain(string domain, BackupRunOptions options)
    {
        if (domain.Length > 0 && !KeyDomain.IsValid(domain))
            throw new ArgumentException($"'{domain}' is no name of a key domain.", nameof(options));
        if (domain.Length > 0 && !IsEncrypted)
            throw new KeyRoleException($"The repository is not encrypted: key domain '{domain}' would keep nobody apart.");
        if (options.Bases.FirstOrDefault(point => point.Domain != domain) is { } other)
            throw new ArgumentException(
                $"Restore point '{other.ShortId}' is of {KeyDomain.Describe(other.Domain)}, the run of {KeyDomain.Describe(domain)}.",
                nameof(options));
    }

    private async Task CheckBasesAsync(BackupRunOptions options, CancellationToken cancellationToken)
    {
        foreach (var point in options.Bases)
        {
            var deleted = options.AllowRetiredBases
                ? await IsExpiredAsync(point, cancellationToken)
                : await IsMarkedAsync(point, ObjectNames.Retire, ObjectNames.RetireDisk, cancellationToken);
            var info = await _context.Store.HeadAsync(ObjectNames.Point(point.MachineId, point.Id), cancellationToken);
            if (deleted || info is not { Size: > 0 })
                throw Unusable(point);
        }
    }

    private async Task<bool> IsExpiredAsync(RestorePoint point, CancellationToken cancellationToken) =>
        await IsMarkedAsync(point, ObjectNames.Expire, ObjectNames.ExpireDisk, cancellationToken)
        || await _context.Store.HeadAsync(ObjectNames.Point(point.MachineId, point.Id), cancellationToken) is not { Size: > 0 }
        || (await EpochListing.ReadAsync(_context, cancellationToken)).Roster.IsGone(point.Id);

    private async Task<bool> IsMarkedAsync(
        RestorePoint point, Func<MachineId, RunId, string> whole, Func<MachineId, RunId, string, string> part,
        CancellationToken cancellationToken)
    {
        if (await _context.Store.HeadAsync(whole(point.MachineId, point.Id), cancellationToken) is not null)
            return true;
        foreach (var disk in point.Disks)
        {
            if (await _context.Store.HeadAsync(part(point.MachineId, point.Id, disk.Name), cancellationToken) is not null)
                return true;
        }

        return false;
    }

    private static BaseUnusableException Unusable(RestorePoint point) =>
        new($"Restore point '{point.ShortId}' of machine '{point.MachineId}' was deleted; it can't be a base any more.");

    // The run can't go on; its tombstone only tells a collector sooner, so a store that fails here changes nothing.
    private async Task RevokeQuietlyAsync(MachineId machine, RunId id, Exception failure)
    {
        if (failure is StoreException)
            return;
        try
        {
            await RunFence.FenceAsync(_context.Store, machine, id, CancellationToken.None);
        }
        catch (StoreException)
        {
            return;
        }
    }
}
