// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>Deletes points, any of them, at any time.</summary>
internal static class RetirerWork
{
    public static async Task RunAsync(Actor actor, int times)
    {
        for (var time = 0; time < times; time++)
        {
            try
            {
                var repository = await actor.OpenAsync();
                var points = (await repository.ListPointsAsync(null, CancellationToken.None)).Points;
                if (points.Count == 0)
                    continue;
                var point = points[actor.Random.Next(points.Count)];
                var truth = actor.World.Truth[point.Id]!;
                truth.IsRetireAsked = true;
                var store = new SimulatedStore(actor.World, actor);
                var key = ObjectNames.Retire(point.MachineId, point.Id);
                await store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, CancellationToken.None);
                truth.IsRetired = true;
                actor.World.Counters.Count("points deleted");
            }
            catch (StoreException)
            {
                actor.World.Counters.Count("deletions that failed");
            }
        }
    }
}

/// <summary>Ends runs from outside, as who comes after a dead process on a host does, whether the run is dead or not.</summary>
internal static class FencerWork
{
    public static async Task RunAsync(Actor actor, int times)
    {
        var store = new SimulatedStore(actor.World, actor);
        for (var time = 0; time < times; time++)
        {
            try
            {
                var runs = new List<(MachineId Machine, RunId Run)>();
                await foreach (var info in store.ListAsync("runs/", CancellationToken.None))
                {
                    if (info.Key.Split('/') is [_, _, var machine, var run] && MachineId.IsValid(machine)
                        && RunId.TryParse(run, out var id))
                        runs.Add((new MachineId(machine), id));
                }

                if (runs.Count == 0)
                    continue;
                var chosen = runs[actor.Random.Next(runs.Count)];
                var end = await RunFence.FenceAsync(store, chosen.Machine, chosen.Run, CancellationToken.None);
                actor.World.Counters.Count(end == RunEnd.Revoked ? "revocations" : "fences of committed runs");
            }
            catch (StoreException)
            {
                actor.World.Counters.Count("fences that failed");
            }
        }
    }
}
