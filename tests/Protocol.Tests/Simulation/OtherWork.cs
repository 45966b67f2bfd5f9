// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>Deletes points, any of them, at any time.</summary>
internal static class RetirerWork
{
    public static async Task RunAsync(Actor actor, int times, int most)
    {
        for (var time = 0; time < times || (actor.World.AreWritersAtWork && time < most); time++)
        {
            try
            {
                await actor.RestAsync(120);
                var repository = await actor.OpenAsync();
                var points = (await repository.ListPointsAsync(null, CancellationToken.None)).Points;
                if (points.Count == 0)
                    continue;
                var inUse = actor.World.InUse;
                var point = inUse.Count > 0 && actor.Random.Next(2) == 0
                    ? inUse[actor.Random.Next(inUse.Count)]
                    : points[actor.Random.Next(2) == 0 ? points.Count - 1 : actor.Random.Next(points.Count)];
                var truth = actor.World.Truth.Of(point)!;
                truth.IsRetireAsked = true;
                await repository.RetireAsync(point.MachineId, point.Id, null, CancellationToken.None);
                truth.IsRetired = true;
                actor.World.Counters.Count("points deleted");
                if (actor.Random.Next(8) == 0)
                    await BringBackAsync(actor, point);
            }
            catch (Exception expected) when (expected is StoreException or CommitUnknownException or RunRevokedException)
            {
                actor.World.Counters.Count("deletions or undos that failed");
            }
        }
    }

    private static async Task BringBackAsync(Actor actor, RestorePoint point)
    {
        await actor.RestAsync(800);
        var repository = await actor.OpenAsync();
        try
        {
            var revived = await repository.UndoAsync(point.MachineId, point.Id, CancellationToken.None);
            actor.World.Truth.Of(revived)!.IsReported = true;
            actor.World.Counters.Count("points brought back");
        }
        catch (PointGoneException)
        {
            actor.World.Counters.Count("undos that came too late");
        }
        catch (RepositoryDamagedException failure)
        {
            actor.World.Truth.Violated($"Point '{point.Id}' could not be brought back: {failure.Message}");
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
                await actor.RestAsync(300);
                var runs = new List<(MachineId Machine, RunId Run)>();
                await foreach (var info in store.ListAsync("runs/", CancellationToken.None))
                {
                    if (info.Key.Split('/') is [_, _, var machine, var run] && MachineId.IsValid(machine) && RunId.TryParse(run, out var id)
                        && (actor.Random.Next(10) == 0 || !actor.World.Objects.Has($"points/{machine}/{run}")))
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
