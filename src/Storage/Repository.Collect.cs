// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

public sealed partial class Repository
{
    /// <summary>
    /// Gives back space (docs/format.md section 9, Collection): finishes what an earlier call began, then begins anew, and returns when
    /// it would have to wait for runs under way. Runs beside writers, readers and other collectors.
    /// </summary>
    /// <exception cref="CollectionRefusedException">Too much would go, or the store does not create atomically.</exception>
    /// <exception cref="StoreUnsuitableException">The repository is one for a single writer.</exception>
    /// <exception cref="RepositoryDamagedException">Something is not as it was left; nothing was deleted.</exception>
    public Task<CollectResult> CollectAsync(
        CollectOptions options, IProgress<CollectProgress>? progress, CancellationToken cancellationToken)
    {
        if (_singleWriter is not null)
            throw new StoreUnsuitableException(
                $"Repository '{_context.Store.Description}' was made for a single writer, as its store has no atomic create: nothing is "
                + "collected there, since deleting safely needs that.")
            {
                Hint = "tidemark copy --to a repository in another store",
            };
        if (_collectFeature is not null)
            throw new FormatTooNewException(
                $"The repository needs feature '{_collectFeature}' for collecting, which this program does not know.");
        return options.DryRun ? CollectPlan.MakeAsync(this, options, progress, cancellationToken)
            : CollectRun.RunAsync(this, options, progress, cancellationToken);
    }

    /// <summary>Deletes a point, or one disk of it: hidden at once, brought back by <see cref="UndoAsync"/> until a collection finds the
    /// undo window over.</summary>
    public async Task RetireAsync(MachineId machine, RunId run, string? disk, CancellationToken cancellationToken)
    {
        var key = disk is null ? ObjectNames.Retire(machine, run) : ObjectNames.RetireDisk(machine, run, disk);
        await _context.Store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, cancellationToken);
    }

    /// <summary>
    /// Deletes a point that can't be read, so that collections go on: what it held is given up once the undo window is over. One that
    /// can be read is not touched, nor one that only a later program could have made.
    /// </summary>
    /// <exception cref="PointGoneException">There is no such point.</exception>
    /// <exception cref="FormatTooNewException">A later program made it.</exception>
    /// <exception cref="InvalidOperationException">It can be read.</exception>
    public async Task RetireDamagedAsync(MachineId machine, RunId run, CancellationToken cancellationToken)
    {
        var key = ObjectNames.Point(machine, run);
        try
        {
            if (await ReadPointAsync(key, cancellationToken) is null)
                throw new PointGoneException($"There is no object '{key}', or it is the tombstone of a run.");
        }
        catch (RepositoryDamagedException)
        {
            if (await IsOfLaterProgramAsync(key, cancellationToken))
                throw new FormatTooNewException($"Object '{key}' was made by a later program, which may be able to read it.");
            await RetireAsync(machine, run, null, cancellationToken);
            return;
        }

        throw new InvalidOperationException($"Restore point '{run.ShortId}' of machine '{machine}' is not damaged.");
    }

    // The two places where a point says its version: in front of the seal, and inside.
    private async Task<bool> IsOfLaterProgramAsync(string key, CancellationToken cancellationToken)
    {
        var content = await _context.Store.Uncached.TryReadAllAsync(key, StorageLimits.MaxSealedObject, cancellationToken) ?? [];
        if (SealedObject.IsOfLaterVersion(content))
            return true;
        try
        {
            using var json = JsonDocument.Parse(_context.Open(key, content));
            return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty("v", out var version)
                && version.ValueKind == JsonValueKind.Number && version.GetDouble() > RestorePoint.CurrentVersion;
        }
        catch (Exception damage) when (damage is RepositoryDamagedException or JsonException)
        {
            return false;
        }
    }

    /// <summary>Brings a deleted point back, as a new one of the same content.</summary>
    /// <exception cref="PointGoneException">It can't be brought back any more.</exception>
    public async Task<RestorePoint> UndoAsync(MachineId machine, RunId run, CancellationToken cancellationToken)
    {
        var known = await ReadPointAsync(ObjectNames.Point(machine, run), cancellationToken)
            ?? throw new PointGoneException($"Restore point '{run.ShortId}' of machine '{machine}' is gone.");
        var expired = new List<string>();
        foreach (var disk in known.Point.Disks)
        {
            if (await _context.Store.HeadAsync(ObjectNames.ExpireDisk(machine, run, disk.Name), cancellationToken) is not null)
                expired.Add(disk.Name); // the rest may still be wanted
        }

        var label = await LabelOfAsync(machine, run, cancellationToken);
        var point = known.Point with
        {
            Disks = label.Over([.. known.Point.Disks.Where(disk => !expired.Contains(disk.Name, StringComparer.Ordinal))]),
        };
        try
        {
            var options = new BackupRunOptions { Domain = point.Domain, Bases = [point], AllowRetiredBases = true, Workers = 1 };
            await using var revival = await BeginRunAsync(machine, options, cancellationToken);
            var disks = new List<DraftDisk>();
            foreach (var disk in point.Disks)
            {
                // No checkpoint: which bitmap starts there now, nobody knows any more.
                var writer = revival.OpenDisk(disk.Name, disk.Size, disk.ChunkLog2, disk.Tree);
                disks.Add(new DraftDisk(await writer.FinishAsync(cancellationToken), disk with { Base = point.Run, Checkpoint = null }));
            }

            var files = point.Files.Select(file => new FileResult(file.Name, null, file.Tree)).ToList();
            var warning = $"Brought back after restore point '{point.ShortId}' had been deleted.";
            var draft = RestorePointDraft.Of(point, disks, files) with
            {
                Place = point.Order,
                Warnings = [.. point.Warnings, warning],
            };
            return await revival.CommitAsync(draft, cancellationToken);
        }
        catch (BaseUnusableException)
        {
            throw new PointGoneException($"Restore point '{run.ShortId}' of machine '{machine}' can't be brought back any more.");
        }
    }

    /// <summary>The same repository with nothing cached; disposed on its own.</summary>
    internal Repository Afresh() => new(_context.Fresh());
}
