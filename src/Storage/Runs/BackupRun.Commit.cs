// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

public sealed partial class BackupRun
{
    private const int CommitTries = 3;

    /// <summary>Makes everything durable, then creates the restore point: the one decision of a backup (I4).</summary>
    /// <exception cref="RunRevokedException">Someone put this run's tombstone.</exception>
    /// <exception cref="CommitUnknownException">The store failed and did not answer whether the point exists.</exception>
    /// <exception cref="StoreFullException">The store has no room; nothing was committed.</exception>
    /// <exception cref="StoreException">The store failed before the commit was tried.</exception>
    public async Task<RestorePoint> CommitAsync(RestorePointDraft draft, CancellationToken cancellationToken)
    {
        ThrowIfFailed();
        var point = await PrepareAsync(draft, cancellationToken);
        await CreatePointAsync(point, cancellationToken);
        await CloseAsync();
        return point;
    }

    // Everything before the decision; cancelling stops whatever of the run is still at work.
    private async Task<RestorePoint> PrepareAsync(RestorePointDraft draft, CancellationToken cancellationToken)
    {
        await using var cancelled = cancellationToken.Register(() => Fail(new OperationCanceledException(cancellationToken)));
        try
        {
            await _pipeline.FinishAsync();
            ThrowIfFailed();
            await _chunkPacks.FinishAsync();
            await Nodes.StoreReadyAsync(_stop.Token);
            if (!Nodes.IsEmpty)
                throw new InvalidOperationException("A disk of this run was not finished before the commit.");
            await _nodePacks.FinishAsync();
            await _segments.FinishAsync(_stop.Token); // I3: packs are durable
            return Describe(draft);
        }
        catch (Exception failure)
        {
            Fail(failure);
            ThrowIfFailed();
            throw;
        }
    }

    private RestorePoint Describe(RestorePointDraft draft) => new()
    {
        Run = Id.ToString(),
        Machine = MachineId.Value,
        Name = draft.Name,
        Uuid = draft.Uuid,
        Host = draft.Host,
        Writer = _context.Writer.ToString(),
        Time = draft.Time,
        Seq = draft.Seq ?? _start.Seq,
        Place = draft.Place,
        Domain = _context.Keys.Domain,
        Copied = draft.Copied,
        Prev = _start.Previous,
        Consistency = draft.Consistency,
        Tags = draft.Tags,
        DomainXml = draft.DomainXml,
        Disks = [.. draft.Disks.Select(Describe)],
        Files = [.. draft.Files.Select(Describe)],
        NotProtected = draft.NotProtected,
        Warnings = draft.Warnings,
        Checkpoints = draft.Checkpoints,
        Index = [.. _segments.Written],
        NewBytes = Interlocked.Read(ref _adoptedLength) + _chunkPacks.TotalLength + _nodePacks.TotalLength + _segments.Length,
    };

    private PointDisk Describe(DraftDisk disk)
    {
        var tree = disk.Result.Reference;
        return disk.Details with
        {
            Name = disk.Result.Name,
            Size = tree.Size,
            ChunkLog2 = tree.ChunkLog2,
            Depth = tree.Depth,
            Root = tree.Root.ToString(),
            Hint = tree.HintDocument,
            Domain = _context.Keys.Domain,
            ChangedBytes = disk.Result.ChangedBytes,
            StoredBytes = disk.Result.StoredBytes,
        };
    }

    private PointFile Describe(FileResult file)
    {
        var tree = file.Reference;
        return new PointFile
        {
            Name = file.Name,
            Size = tree.Size,
            ChunkLog2 = tree.ChunkLog2,
            Depth = tree.Depth,
            Root = tree.Root.ToString(),
            Hint = tree.HintDocument,
            Domain = _context.Keys.Domain,
        };
    }

    private async Task CreatePointAsync(RestorePoint point, CancellationToken cancellationToken)
    {
        var key = ObjectNames.Point(MachineId, Id);
        var content = _context.Close(key, JsonSerializer.SerializeToUtf8Bytes(point, FormatJson.Default.RestorePoint));
        cancellationToken.ThrowIfCancellationRequested();
        if (_heartbeat.IsTooOld)
            throw new RunRevokedException(
                $"Run '{Id}' of machine '{MachineId}' reached the store last more than 7 days ago; it may not commit any more.");
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                // From here on a cancellation is not looked at: it could not be told whether the point exists.
                var created = await _context.Store.PutIfAbsentAsync(key, content, CancellationToken.None);
                _ended = true;
                if (!created && _options.Rules.TombstoneHonoured && await IsForeignAsync(key, content))
                    throw new RunRevokedException($"Run '{Id}' of machine '{MachineId}' was revoked before it could commit.");
                if (_heartbeat.IsTooOld)
                    throw new RunRevokedException(
                        $"Run '{Id}' of machine '{MachineId}' took more than 7 days for its commit; it may have been revoked meanwhile.");
                return;
            }
            catch (StoreFullException failure) when (attempt == 1)
            {
                Fail(failure); // nothing was created: a failure like any before the commit
                throw;
            }
            catch (StoreException failure)
            {
                if (attempt < CommitTries)
                    continue;
                _ended = true;
                throw new CommitUnknownException(
                    $"Whether restore point '{Id}' of machine '{MachineId}' was committed is unknown: {failure.Message}", failure);
            }
        }
    }

    // An earlier try may have succeeded though it failed here: then the key holds our own bytes.
    private async Task<bool> IsForeignAsync(string key, byte[] content)
    {
        var found = await _context.Store.TryReadAllAsync(key, StorageLimits.MaxSealedObject, CancellationToken.None);
        return found is null || !found.AsSpan().SequenceEqual(content);
    }
}
