// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>A host that backs up a machine again and again; a process of it that dies is followed by another.</summary>
internal sealed class WriterWork(Actor actor, MachineId machine)
{
    private readonly List<RestorePoint> _remembered = actor.World.RememberedOf(machine); // a host's own notes outlive its processes
    private RunId? _underway;
    private RestorePoint? _base;

    public async Task RunAsync(int runs)
    {
        for (var run = 0; run < runs; run++)
        {
            try
            {
                var repository = await actor.OpenAsync();
                if (run == 0 || actor.Random.Next(4) == 0)
                    actor.World.Counters.Count("revocations by a host", await repository.RevokeDeadRunsAsync(CancellationToken.None));
                await BackUpAsync(repository);
                await actor.RestAsync(400);
            }
            catch (Exception expected) when (expected is StoreException or CommitUnknownException)
            {
                actor.World.Counters.Count("runs that failed");
            }
            catch (BaseUnusableException)
            {
                if (_base is null || !actor.World.Truth.Of(_base)!.IsRetireAsked)
                    actor.World.Truth.Violated($"Run '{_underway}' of '{machine}' was told that its base is deleted; it is not.");
                actor.World.Counters.Count("bases found deleted");
            }
            catch (RunRevokedException)
            {
                actor.World.Counters.Count("runs revoked");
            }
            catch (RepositoryDamagedException failure)
            {
                actor.World.Truth.Violated($"Run '{_underway}' of '{machine}' could not read what it inherits: {failure.Message}");
            }
        }
    }

    private async Task BackUpAsync(Repository repository)
    {
        var world = actor.World;
        var random = actor.Random;
        var origin = await ChooseBaseAsync(repository);
        _base = origin;
        var before = origin is null ? null : world.Truth.Of(origin)!.Content;
        var content = Change(before ?? new int[world.ChunkCountOf(machine)]);
        _underway = world.NewRun();
        var options = new BackupRunOptions
        {
            Id = _underway,
            Bases = origin is null ? [] : [origin],
            Workers = random.Next(1, 3),
            LookAfter = 1,
            PackTarget = random.Next(3) == 0 ? 1 : StorageLimits.PackTarget, // there for others long before the commit
            Rules = world.WriterRules,
        };
        using var use = world.Use(origin);
        if (origin?.Disk("vda").Tree.Hint.Pack is { } pack && !world.Objects.Has(pack.Key))
            world.Counters.Count("bases whose packs are gone");
        await using var run = await repository.BeginRunAsync(machine, options, CancellationToken.None);
        var disk = run.OpenDisk("vda", (long)content.Length << Chunks.Log2, Chunks.Log2, origin?.Disk("vda").Tree);
        for (var chunk = 0; chunk < content.Length; chunk++)
        {
            // What is the same is read again now and then, as a coarse bitmap makes a backup do.
            if (before is not null && before[chunk] == content[chunk] && random.Next(4) != 0)
                continue;
            if (content[chunk] == 0)
                await disk.ZeroAsync(chunk, chunk + 1, CancellationToken.None);
            else
                await WriteAsync(disk, chunk, content[chunk]);
            if (random.Next(3) != 0)
                continue;
            await actor.RestAsync(20);
            if (run.Others.IsLooking)
                await actor.UntilAsync(() => !run.Others.IsLooking); // a disk of many chunks has time to find what others stored
        }

        if (random.Next(2) == 0)
            await actor.RestAsync(300); // a long backup, which has looked at all it reuses long before it commits
        var result = await disk.FinishAsync(CancellationToken.None);
        var truth = world.Truth.Expect(machine, run.Id, content);
        var draft = new RestorePointDraft
        {
            Name = machine.Value,
            Time = world.Clock.Now,
            Disks = [new DraftDisk(result, new PointDisk { Base = origin?.Id.ToString() })],
        };
        var point = await run.CommitAsync(draft, CancellationToken.None);
        truth.IsReported = true;
        world.Counters.Count("commits");
        if (origin is not null)
            world.Counters.Count(world.Truth.Of(origin)!.IsRetireAsked ? "inherited from a point being deleted" : "incremental commits");
        if (result.KnownChunks > 0)
            world.Counters.Count("commits with reused chunks");
        world.Counters.Count("looks at other runs", run.Others.Looks);
        foreach (var adopted in run.Adopted)
        {
            var hasEnded = world.Objects.Keys.Any(key => key.StartsWith("points/", StringComparison.Ordinal)
                && key.EndsWith($"/{adopted.Run}", StringComparison.Ordinal));
            world.Counters.Count(hasEnded ? "packs of ended runs adopted" : "packs of running runs adopted");
        }

        _remembered.Add(point);
    }

    // The newest point as a planner finds it, or one remembered from before that may be gone by now.
    private async Task<RestorePoint?> ChooseBaseAsync(Repository repository)
    {
        if (_remembered.Count > 0 && actor.Random.Next(3) == 0)
            return _remembered[actor.Random.Next(_remembered.Count)];
        if (actor.Random.Next(8) == 0)
            return null;
        var listing = await repository.ListPointsAsync(machine, CancellationToken.None);
        foreach (var failure in listing.Damaged)
            actor.World.Truth.Violated($"A point can't be read: {failure.Message}");
        return listing.Points.Count == 0 ? null : listing.Points[actor.Random.Next(3) == 0 ? actor.Random.Next(listing.Points.Count) : 0];
    }

    private int[] Change(int[] before)
    {
        var random = actor.Random;
        var content = before.ToArray();
        var spots = actor.World.SpotsOf(machine);
        foreach (var spot in spots)
        {
            if (random.Next(2) == 0)
                content[spot] = random.Next(6) == 0 ? 0 : actor.World.ChooseValue(random);
        }

        return content;
    }

    private static async Task WriteAsync(DiskWriter disk, int chunk, int value)
    {
        var buffer = MemoryPool<byte>.Shared.Rent(Chunks.Size);
        Chunks.Of(value).CopyTo(buffer.Memory.Span);
        await disk.WriteAsync(chunk, buffer, CancellationToken.None);
    }
}
