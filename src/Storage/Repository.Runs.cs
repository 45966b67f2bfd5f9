// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

public sealed partial class Repository
{
    private string? _writeFeature;
    private string? _singleWriter;

    /// <summary>Begins a backup run of a machine: announces it, checks its bases, and reads what may be reused, in this order
    /// (I6).</summary>
    /// <exception cref="BaseUnusableException">A base was deleted or is gone: plan again.</exception>
    /// <exception cref="KeyRoleException">The repository is open for maintenance only.</exception>
    /// <exception cref="FormatTooNewException">The repository needs something for writing that this program does not know.</exception>
    /// <exception cref="StoreUnsuitableException">The store is for another writer only.</exception>
    public async Task<BackupRun> BeginRunAsync(MachineId machine, BackupRunOptions options, CancellationToken cancellationToken)
    {
        _context.Keys.RequireData();
        if (_writeFeature is not null)
            throw new FormatTooNewException(
                $"The repository needs feature '{_writeFeature}' for writing, which this program does not know.");
        if (_singleWriter is { } only && only != Writer.ToString())
            throw new StoreUnsuitableException(
                $"Repository '{_context.Store.Description}' was made for a single writer, '{only}', as its store has no atomic create; "
                + $"this host is writer '{Writer}'.");
        var id = options.Id ?? _context.NewRun();
        var trees = options.Bases.SelectMany(point => point.Disks.Select(disk => disk.Tree).Concat(point.Files.Select(file => file.Tree)));
        var pins = trees.Where(tree => !tree.Root.IsZero).ToArray();
        var key = await AnnounceAsync("backup", machine.Value, id, pins, cancellationToken);
        try
        {
            await CheckBasesAsync(options.Bases, cancellationToken);
            var listing = await IndexListing.ReadAsync(_context, forWriting: true, cancellationToken);
            var newest = await NewestAsync(machine, cancellationToken);
            var start = new RunStart(
                id, machine, key, listing, (newest?.Point.Seq ?? 0) + 1, newest?.Hash, pins.Select(pin => pin.Root).ToHashSet());
            return new BackupRun(_context, options, start);
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
    public async Task<ReadRun> BeginReadAsync(RestorePoint point, CancellationToken cancellationToken)
    {
        var pins = point.Disks.Select(disk => disk.Tree).Concat(point.Files.Select(file => file.Tree)).Where(tree => !tree.Root.IsZero);
        try
        {
            var key = await AnnounceAsync("read", point.MachineId.Value, _context.NewRun(), pins, cancellationToken);
            return new ReadRun(_context, point, key);
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            return new ReadRun(_context, point, null);
        }
    }

    private async Task<string> AnnounceAsync(
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
            Pins = [.. pins.Select(tree => new Pin(tree.Root.ToString(), tree.Depth)).Distinct()],
        };
        var content = _context.Close(key, JsonSerializer.SerializeToUtf8Bytes(document, FormatJson.Default.RunDocument));
        if (!await _context.Store.PutIfAbsentAsync(key, content, cancellationToken))
            throw new InvalidOperationException($"Run '{id}' was begun before.");
        return key;
    }

    private async Task CheckBasesAsync(IReadOnlyList<RestorePoint> bases, CancellationToken cancellationToken)
    {
        foreach (var point in bases)
        {
            var deleted = await _context.Store.HeadAsync(ObjectNames.Retire(point.MachineId, point.Id), cancellationToken) is not null;
            foreach (var disk in point.Disks)
                deleted |= await _context.Store.HeadAsync(
                    ObjectNames.RetireDisk(point.MachineId, point.Id, disk.Name), cancellationToken) is not null;
            var info = await _context.Store.HeadAsync(ObjectNames.Point(point.MachineId, point.Id), cancellationToken);
            if (deleted || info is not { Size: > 0 })
                throw new BaseUnusableException(
                    $"Restore point '{point.ShortId}' of machine '{point.MachineId}' was deleted; it can't be a base any more.");
        }
    }

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
