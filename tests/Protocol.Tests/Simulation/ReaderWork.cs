// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>Restores points while everything else goes on: what it reads is exact, or it is told why not.</summary>
internal sealed class ReaderWork(Actor actor)
{
    private const int MostRestores = 6;

    // Without a heartbeat for six hours a reader is not protected any more; the driver may hold its heartbeat back after a jump.
    private static readonly TimeSpan SurelyProtected = TimeSpan.FromHours(5);

    public async Task RunAsync(int restores)
    {
        for (var restore = 0; restore < restores || (actor.World.AreWritersAtWork && restore < MostRestores); restore++)
        {
            try
            {
                await actor.RestAsync(400);
                await RestoreAsync(await actor.OpenAsync());
            }
            catch (StoreException)
            {
                actor.World.Counters.Count("restores that failed");
            }
        }
    }

    private async Task RestoreAsync(Repository repository)
    {
        var world = actor.World;
        var points = (await repository.ListPointsAsync(null, CancellationToken.None)).Points;
        if (points.Count == 0)
            return;
        var point = points[actor.Random.Next(points.Count)];
        var truth = world.Truth.Of(point)!;
        await using var run = await BeginAsync(repository, point, truth);
        if (run is null)
            return;
        var begun = world.Clock.Now;
        using var use = world.Use(point);
        world.ReadersAtWork++;
        try
        {
            await actor.RestAsync(1500); // a long restore
            var wrong = await Restoring.FirstWrongChunkAsync(run.OpenDisk("vda"), truth.Content);
            if (wrong >= 0)
                world.Truth.Violated($"Chunk {wrong} of point '{point.Id}' was restored wrong.");
            world.Counters.Count(truth.IsRetireAsked ? "restores of a point being deleted" : "restores");
        }
        catch (RepositoryDamagedException failure)
        {
            var excused = truth.IsRetireAsked && (!run.IsProtected || world.Clock.Now - begun > SurelyProtected);
            if (!excused)
                world.Truth.Violated($"Reading point '{point.Id}': {failure.Message}");
            world.Counters.Count("readers that lost their point");
        }
        finally
        {
            world.ReadersAtWork--;
        }
    }

    private async Task<ReadRun?> BeginAsync(Repository repository, RestorePoint point, PointTruth truth)
    {
        try
        {
            return await repository.BeginReadAsync(point, CancellationToken.None);
        }
        catch (PointGoneException)
        {
            if (!truth.IsRetireAsked)
                actor.World.Truth.Violated($"A reader was told that point '{point.Id}' is gone; nobody deleted it.");
            actor.World.Counters.Count("readers that came too late");
            return null;
        }
    }
}

/// <summary>Compares a disk with what it must hold.</summary>
internal static class Restoring
{
    /// <summary>The number of the first chunk that differs, or -1.</summary>
    public static async Task<int> FirstWrongChunkAsync(DiskReader disk, int[] expected)
    {
        await using var reader = disk;
        var buffer = new byte[Chunks.Size];
        for (var chunk = 0; chunk < expected.Length; chunk++)
        {
            await reader.ReadAsync((long)chunk << Chunks.Log2, buffer, CancellationToken.None);
            if (!buffer.AsSpan().SequenceEqual(Chunks.Of(expected[chunk])))
                return chunk;
        }

        return -1;
    }
}
