// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>Looks at what a simulation left, with faults off: every point of the truth is there and exact, and no other.</summary>
internal static class Judge
{
    public static void Judged(World world)
    {
        world.Faults = Faults.None;
        world.Run();
        world.LandAll();
        world.Spawn("judge", 6, RunAsync);
        world.Run();
    }

    private static async Task RunAsync(Actor actor)
    {
        var truth = actor.World.Truth;
        var repository = await actor.OpenAsync();
        var listing = await repository.ListPointsAsync(null, CancellationToken.None);
        foreach (var failure in listing.Damaged)
            truth.Violated($"In the end a point can't be read: {failure.Message}");
        var found = listing.Points.ToDictionary(point => point.Id);
        foreach (var point in found.Values)
        {
            if (truth[point.Id] is not { } expected)
                truth.Violated($"Point '{point.Id}' exists and nobody committed it.");
            else if (expected.IsRetired)
                truth.Violated($"Point '{point.Id}' was deleted and is listed.");
            else
                await RestoreAsync(repository, point, expected, truth);
        }

        foreach (var missing in truth.Points.Where(point => point.IsReported && !point.IsRetireAsked && !found.ContainsKey(point.Run)))
            truth.Violated($"Point '{missing.Run}' of '{missing.Machine}' was committed, not deleted, and is gone.");
    }

    private static async Task RestoreAsync(Repository repository, RestorePoint point, PointTruth expected, Truth truth)
    {
        try
        {
            var wrong = await Restoring.FirstWrongChunkAsync(repository.OpenDisk(point.Disk("vda")), expected.Content);
            if (wrong >= 0)
                truth.Violated($"In the end chunk {wrong} of point '{point.Id}' is wrong.");
        }
        catch (RepositoryDamagedException failure)
        {
            truth.Violated($"In the end point '{point.Id}' of '{point.MachineId}' can't be restored: {failure.Message}");
        }
    }
}
