// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// Looks at what a simulation left, with faults off: a collector heals it, and then every point of the truth is there and exact, no other
/// is, and what nobody needs is gone.
/// </summary>
internal static class Judge
{
    private const int MaxRounds = 12;
    private const int StoredChunk = Chunks.Random + 500;
    private const int Slack = 3 * StoredChunk;

    public static void Judged(World world)
    {
        world.Faults = Faults.None;
        world.Run();
        world.Spawn("healer", 5, HealAsync);
        world.Run();
        world.LandAll();
        world.Spawn("judge", 6, RunAsync);
        world.Run();
    }

    // Late requests land between the rounds too; in the last one everything is quiet.
    private static async Task HealAsync(Actor actor)
    {
        for (var round = 1; ; round++)
        {
            actor.World.Clock.Advance(round == 2 ? TimeSpan.FromDays(40) : TimeSpan.FromHours(7));
            var result = await CollectorWork.CollectAsync(actor, TimeSpan.Zero);
            if (round == 3)
                actor.World.LandAll(); // when tombstones of those who sent them are gone
            if (result is null || (round > 4 && result.WaitingFor.Count == 0 && result.EpochsFinished == 0))
                return;
            if (round == MaxRounds)
            {
                actor.World.Truth.Violated($"After {round} collections there is still something to do.");
                return;
            }
        }
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
            if (truth.Of(point) is not { } expected)
                truth.Violated($"Point '{point.Id}' exists and nobody committed it.");
            else if (expected.IsRetired)
                truth.Violated($"Point '{point.Id}' was deleted and is listed.");
            else
                await RestoreAsync(repository, point, expected, truth);
        }

        foreach (var missing in truth.Points.Where(point => point.IsReported && !point.IsRetireAsked && !found.ContainsKey(point.Run)))
            truth.Violated($"Point '{missing.Run}' of '{missing.Machine}' was committed, not deleted, and is gone.");
        CheckGarbage(actor.World, found.Values);
    }

    // A pack stays if half of it is needed, or if moving would not pay.
    private static void CheckGarbage(World world, IEnumerable<RestorePoint> points)
    {
        var needed = points.SelectMany(point => world.Truth.Of(point)?.Content ?? []).Where(value => value != 0).Distinct().Count();
        var packs = world.Objects.Keys.Where(key => key.StartsWith("packs/", StringComparison.Ordinal) && key.Contains("/d-")).ToArray();
        var stored = packs.Sum(key => world.Objects.Head(key)!.Value.Size);
        if (stored > (2L * needed * StoredChunk) + Slack)
            world.Violations.Add($"{stored} bytes in {packs.Length} packs are stored for {needed} chunks after everything was collected.");
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
