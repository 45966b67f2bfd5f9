// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A point to copy, and what it can be compared with: the last copied one of its machine, as it is here (<c>Before</c>) and
/// there (<c>Origin</c>).</summary>
public sealed record CopyStep(RestorePoint Point, RestorePoint? Before, RestorePoint? Origin);

/// <summary>What copying a point came to. Bytes.</summary>
public sealed record CopyResult(RestorePoint Point, long ReadBytes, long PackBytes, int Packs);

public sealed partial class Repository
{
    /// <summary>Whether another repository has the same id and master: then ids and blobs are the same bytes in both.</summary>
    public bool IsTwinOf(Repository other) => Id == other.Id && _context.Keys.IsEncrypted == other._context.Keys.IsEncrypted
        && _context.Keys.MaintenanceSecret.AsSpan().SequenceEqual(other._context.Keys.MaintenanceSecret);

    /// <summary>
    /// Which of the given points of this repository are missing in another, oldest first by machine. A point is there when a point there
    /// says that it was copied from it.
    /// </summary>
    public IReadOnlyList<RestorePoint> MissingIn(IEnumerable<RestorePoint> points, IEnumerable<RestorePoint> there)
    {
        var copied = there.Where(point => point.Copied?.Repository == Id.ToString("N"))
            .Select(point => (point.MachineId, point.Copied!.Run)).ToHashSet();
        return [.. points.Where(point => !copied.Contains((point.MachineId, point.Run)))
            .OrderBy(point => point.MachineId.Value, StringComparer.Ordinal).ThenBy(point => point.Seq)
            .ThenBy(point => point.Run, StringComparer.Ordinal)];
    }

    /// <summary>What a point is best compared with: the copied point of its machine that is nearest below it, else above.</summary>
    /// <param name="point">A point of this repository.</param>
    /// <param name="here">The points of this repository.</param>
    /// <param name="there">The points of the other one.</param>
    public CopyStep PlanCopy(RestorePoint point, IEnumerable<RestorePoint> here, IEnumerable<RestorePoint> there)
    {
        var sources = here.Where(other => other.MachineId == point.MachineId).ToDictionary(other => other.Run, StringComparer.Ordinal);
        var best = there.Where(other => other.MachineId == point.MachineId && other.Copied?.Repository == Id.ToString("N")
                && sources.TryGetValue(other.Copied.Run, out var from) && from.Domain == point.Domain)
            .OrderBy(other => sources[other.Copied!.Run].Seq > point.Seq)
            .ThenBy(other => Math.Abs(sources[other.Copied!.Run].Seq - point.Seq)).FirstOrDefault();
        return new CopyStep(point, best is null ? null : sources[best.Copied!.Run], best);
    }

    /// <summary>
    /// Copies one point of this repository into another (docs/format.md section 9): registered as a reader here, a run of its own there,
    /// sending only what is missing. Reports bytes of the disks done.
    /// </summary>
    /// <exception cref="RepositoryDamagedException">Something the point needs can't be read; nothing was committed.</exception>
    /// <exception cref="KeyRoleException">A key does not open the point's key domain.</exception>
    /// <exception cref="BaseUnusableException">The point it was to be compared with was deleted there: plan again.</exception>
    public async Task<CopyResult> CopyToAsync(
        Repository target, CopyStep step, Action<string, long>? progress, CancellationToken cancellationToken)
    {
        var point = step.Point;
        var context = _context.In(point.Domain);
        context.Keys.RequireData();
        await using var reading = await BeginReadAsync(point, cancellationToken);
        var options = new BackupRunOptions
        {
            Domain = target.IsEncrypted ? point.Domain : "",
            Bases = step.Origin is null ? [] : [step.Origin],
        };
        await using var run = await target.BeginRunAsync(point.MachineId, options, cancellationToken);
        using var blobs = new BlobReader(context);
        var packs = IsTwinOf(target) ? new PackCopier(context, run) : null;
        var disks = new List<DraftDisk>();
        long read = 0;
        foreach (var disk in point.Disks)
        {
            var result = await CopyAsync(
                disk.Name, disk.Tree, step.Before?.Disks.FirstOrDefault(other => other.Name == disk.Name)?.Tree,
                step.Origin?.Disks.FirstOrDefault(other => other.Name == disk.Name)?.Tree);
            disks.Add(new DraftDisk(result, disk with { Base = null, Checkpoint = null, Identity = null, Backing = null })); // I22
        }

        var files = new List<FileResult>();
        foreach (var file in point.Files)
        {
            var result = await CopyAsync(
                file.Name, file.Tree, step.Before?.Files.FirstOrDefault(other => other.Name == file.Name)?.Tree,
                step.Origin?.Files.FirstOrDefault(other => other.Name == file.Name)?.Tree);
            files.Add(new FileResult(file.Name, result, null));
        }

        var committed = await run.CommitAsync(
            RestorePointDraft.Of(point, disks, files) with
            {
                Seq = point.Seq,
                Place = point.Place,
                Copied = new CopiedFrom(Id.ToString("N"), point.Run),
            },
            cancellationToken);
        return new CopyResult(committed, read, packs?.Bytes ?? 0, packs?.Packs ?? 0);

        async Task<DiskResult> CopyAsync(string name, TreeRef tree, TreeRef? before, TreeRef? origin)
        {
            var fits = before is not null && origin is not null && before.ChunkLog2 == tree.ChunkLog2
                && origin.ChunkLog2 == tree.ChunkLog2 && before.Shape == origin.Shape && (packs is null || before.Root == origin.Root);
            long done = 0;
            var copier = new TreeCopier(context, blobs, run, packs, bytes => progress?.Invoke(name, done += bytes));
            var result = await copier.CopyAsync(name, tree, fits ? before : null, fits ? origin : null, cancellationToken);
            read += copier.ReadBytes;
            return result;
        }
    }
}
