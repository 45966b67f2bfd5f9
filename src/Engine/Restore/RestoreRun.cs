// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Blocks;
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Restore.Targets;
using Tidemark.Engine.Runs;
using Tidemark.Nbd;
using Tidemark.Storage;

namespace Tidemark.Engine.Restore;

/// <summary>
/// Restores a point: check everything first, then per disk write → flush → read back → compare roots → put in place, then
/// define. A disk counts only when what the target gives back has the restore point's tree root.
/// </summary>
public sealed class RestoreRun
{
    private readonly Repository _repository;
    private readonly RestorePoint _point;
    private readonly RestoreOptions _options;
    private readonly Action<RunEvent> _observer;

    private RestoreRun(Repository repository, RestorePoint point, RestoreOptions options, Action<RunEvent> observer)
    {
        _repository = repository;
        _point = point;
        _options = options;
        _observer = observer;
    }

    /// <param name="repository">Where the point is.</param>
    /// <param name="hypervisor">Where to define the machine; needed only for that.</param>
    /// <param name="chosen">The point.</param>
    /// <param name="options">What the user chose.</param>
    /// <param name="observer">Told how far it is.</param>
    /// <param name="cancellationToken">Ends it; targets that are not finished are removed.</param>
    /// <exception cref="EngineException">Not everything was restored and proved; the message says what is left.</exception>
    public static async Task<RestoreResult> RunAsync(
        RepositorySession repository,
        IHypervisor? hypervisor,
        PointInfo chosen,
        RestoreOptions options,
        Action<RunEvent> observer,
        CancellationToken cancellationToken)
    {
        try
        {
            var point = await repository.FindAsync(chosen, cancellationToken);
            var run = new RestoreRun(repository.Repository, point, options, observer);
            await using var reading = await repository.Repository.BeginReadAsync(point, cancellationToken);
            var result = await run.ExecuteAsync(hypervisor, chosen, cancellationToken);
            var restored = point.Disks.Where(disk => result.Disks.Any(target => target.Name == disk.Name));
            return result with { Warnings = PointMarks.Sentences(restored).ToList() };
        }
        catch (Exception e) when (e is not (EngineException or OperationCanceledException))
        {
            throw Failures.Translate(e);
        }
    }

    /// <summary>Restores one disk to one target and proves it; for targets that are not chosen by words.</summary>
    internal static async Task<RestoredDiskResult> RestoreDiskAsync(
        RepositorySession repository,
        PointInfo chosen,
        string disk,
        RestoreTarget target,
        Action<RunEvent> observer,
        CancellationToken cancellationToken)
    {
        await using (target)
        {
            var point = await repository.FindAsync(chosen, cancellationToken);
            var run = new RestoreRun(repository.Repository, point, new RestoreOptions(), observer);
            var result = await run.RestoreDiskAsync(point.Disk(disk), target, cancellationToken);
            await target.KeepAsync(cancellationToken);
            return result;
        }
    }

    private async Task<RestoreResult> ExecuteAsync(IHypervisor? hypervisor, PointInfo chosen, CancellationToken cancellationToken)
    {
        var targets = TargetChoice.Choose(chosen, _options);
        try
        {
            foreach (var target in targets)
                await target.Target.CheckAsync(target.Disk.Size, _options.Force, cancellationToken);
            var definer = _options.Define ? await PrepareDefinitionAsync(hypervisor!, targets, cancellationToken) : null;
            var results = new List<RestoredDiskResult>();
            foreach (var target in targets)
                results.Add(await RestoreDiskAsync(_point.Disk(target.Disk.Name), target.Target, cancellationToken));
            foreach (var target in targets)
                await target.Target.KeepAsync(cancellationToken);
            if (definer is null)
                return new RestoreResult(chosen.Id, results, null, false, []);
            var disks = $"The disks are restored and proved ({string.Join(", ", results.Select(disk => disk.Target))})";
            await OrSayWhatStaysAsync(
                definer.DefineAsync(cancellationToken),
                $"{disks}, but machine '{definer.Name}' could not be defined",
                "the disks stay; mend that, then the same command with --force");
            if (_options.Start)
            {
                await OrSayWhatStaysAsync(
                    hypervisor!.StartAsync(definer.Uuid, cancellationToken),
                    $"{disks} and machine '{definer.Name}' is defined on them, but it did not start",
                    $"mend that, then virsh start {definer.Name}");
            }

            return new RestoreResult(chosen.Id, results, definer.Name, _options.Start, definer.Notes);
        }
        finally
        {
            foreach (var target in targets)
                await target.DisposeAsync();
        }
    }

    private static async Task OrSayWhatStaysAsync(Task step, string what, string hint)
    {
        try
        {
            await step;
        }
        catch (EngineException e)
        {
            throw new EngineException(e.Kind, $"{what}: {e.Message}", hint, e);
        }
    }

    private async Task<MachineDefiner> PrepareDefinitionAsync(
        IHypervisor hypervisor, IReadOnlyList<DiskTarget> targets, CancellationToken cancellationToken)
    {
        if (_point.DomainXml is not { } xml)
            throw EngineException.Failed($"Restore point '{_point.ShortId}' holds no machine definition.");
        if (targets.FirstOrDefault(target => target.InDefinition is null) is { } nbd)
            throw EngineException.Usage($"Disk '{nbd.Disk.Name}' goes to '{nbd.Target.Display}', which a defined machine cannot use.");
        var files = new List<StoredFile>();
        foreach (var file in _point.Files)
        {
            var parts = file.Name.Split('/', 2);
            files.Add(new StoredFile(parts[0], parts[^1], await _repository.ReadFileAsync(file, cancellationToken)));
        }

        return await MachineDefiner.PrepareAsync(
            hypervisor,
            xml,
            (_point.Name, Guid.Parse(_point.Uuid)),
            files,
            targets.ToDictionary(target => target.Disk.Name, target => target.InDefinition!, StringComparer.Ordinal),
            _options,
            cancellationToken);
    }

    private async Task<RestoredDiskResult> RestoreDiskAsync(PointDisk disk, RestoreTarget target, CancellationToken cancellationToken)
    {
        try
        {
            return await WriteAndProveAsync(disk, target, cancellationToken);
        }
        catch (OperationCanceledException) when (target.IsInPlace)
        {
            _observer(new Notice(_point.Name, $"Target '{target.Display}' is half-written and no disk '{disk.Name}'."));
            throw;
        }
        catch (Exception e) when (target.IsInPlace)
        {
            var failure = Failures.Translate(e);
            throw new EngineException(
                failure.Kind, $"{failure.Message} Target '{target.Display}' is half-written and no disk '{disk.Name}'.", failure.Hint, e);
        }
    }

    private async Task<RestoredDiskResult> WriteAndProveAsync(PointDisk disk, RestoreTarget target, CancellationToken cancellationToken)
    {
        var begun = Stopwatch.GetTimestamp();
        long written;
        try
        {
            written = await WriteAsync(disk, target, cancellationToken);
        }
        catch (NbdRequestException e) when (e.Error == NbdError.NoSpace)
        {
            throw EngineException.Failed($"No space left on target '{target.Display}': {e.Message}", inner: e);
        }

        var flushed = Stopwatch.GetTimestamp();
        var source = await target.ReadBackAsync(cancellationToken);
        var proof = new Proof(this, disk);
        var root = await _repository.RootOfAsync(new Sized(source, disk.Size), disk.ChunkLog2, disk.Domain, proof, cancellationToken);
        proof.Report(disk.Size);
        if (root != disk.Tree.Root || source.Size < disk.Size)
        {
            throw EngineException.Failed(
                $"Target '{target.Display}' does not give back what was written to it: disk '{disk.Name}' of restore point "
                + $"'{_point.ShortId}' has the root '{disk.Root}', the target '{root}'. The target or its storage loses writes.");
        }

        return new RestoredDiskResult(
            disk.Name,
            target.Display,
            written,
            Verified: true,
            Stopwatch.GetElapsedTime(begun, flushed).TotalSeconds,
            Stopwatch.GetElapsedTime(flushed).TotalSeconds);
    }

    private async Task<long> WriteAsync(PointDisk disk, RestoreTarget target, CancellationToken cancellationToken)
    {
        var open = await target.OpenAsync(disk.Size, cancellationToken);
        await using var reader = _repository.OpenDisk(disk);
        if (!target.StartsZero)
            await ZeroHolesAsync(reader, open, cancellationToken);
        long written = 0;
        await reader.ReadAllAsync(
            async (offset, content, token) =>
            {
                await open.WriteAsync(offset, content, token);
                var done = Interlocked.Add(ref written, content.Length);
                _observer(new DiskProgress(_point.Name, disk.Name, done, Math.Max(done, disk.Size)));
            },
            cancellationToken);
        await open.FlushAsync(cancellationToken);
        _observer(new DiskProgress(_point.Name, disk.Name, disk.Size, disk.Size));
        return written;
    }

    // What is a hole in the point may be old data on a device: it must become zero there.
    private static async Task ZeroHolesAsync(DiskReader reader, IBlockTarget target, CancellationToken cancellationToken)
    {
        await foreach (var extent in reader.ExtentsAsync(new ByteRange(0, reader.Size), cancellationToken))
        {
            if (extent.Kind == ExtentKind.Zero)
                await target.ZeroAsync(extent.Range, cancellationToken);
        }
    }

    // How far the reading back of a disk is, told as of a disk of its own.
    private sealed class Proof(RestoreRun run, PointDisk disk) : IProgress<long>
    {
        public void Report(long value) =>
            run._observer(new DiskProgress(run._point.Name, $"{disk.Name} proof", Math.Min(value, disk.Size), disk.Size));
    }

    // The disk's part of a target that may be larger. Its owner disposes the target.
    private sealed class Sized(IBlockSource source, long size) : IBlockSource
    {
        public long Size => Math.Min(size, source.Size);

        public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
            source.ReadAsync(offset, buffer, cancellationToken);

        public IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, CancellationToken cancellationToken) =>
            source.ExtentsAsync(range, cancellationToken);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
