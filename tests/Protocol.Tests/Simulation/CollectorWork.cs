// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>Collects again and again; a process of it that dies is followed by another.</summary>
internal static class CollectorWork
{
    private const int MaxTimes = 8;

    public static async Task RunAsync(Actor actor, int times, TimeSpan window)
    {
        for (var time = 0; time < times || (actor.World.AreWritersAtWork && time < MaxTimes); time++)
        {
            try
            {
                await actor.RestAsync(60);
                await CollectAsync(actor, window);
            }
            catch (StoreException)
            {
                actor.World.Counters.Count("collections that failed");
            }
        }
    }

    /// <summary>One collection; what it says is counted, what it should not say is held against it.</summary>
    public static async Task<CollectResult?> CollectAsync(Actor actor, TimeSpan window)
    {
        var world = actor.World;
        var repository = await actor.OpenAsync();
        var options = new CollectOptions { UndoWindow = window, MaxDeletePercent = 100, Rules = world.CollectorRules };
        var open = world.Objects.Keys.Where(key => key.EndsWith("/condemn", StringComparison.Ordinal))
            .Any(key => !world.Objects.Has(key.Replace("/condemn", "/done", StringComparison.Ordinal)));
        try
        {
            var result = await repository.CollectAsync(options, null, CancellationToken.None);
            var counters = world.Counters;
            counters.Count("collections");
            counters.Count("epochs finished", result.EpochsFinished);
            counters.Count("epochs resumed and finished", open && result.EpochsFinished > 0 ? 1 : 0);
            counters.Count("collections that waited", result.WaitingFor.Count > 0 ? 1 : 0);
            counters.Count("packs deleted", result.Packs.Count);
            counters.Count("packs deleted beside writers", world.AreWritersAtWork ? result.Packs.Count : 0);
            counters.Count("repacks", result.MovedBytes > 0 ? 1 : 0);
            counters.Count("points expired", result.Expired);
            counters.Count("revocations by a collector", result.Revoked);
            return result;
        }
        catch (Exception refusal) when (refusal is RepositoryDamagedException or CollectionRefusedException)
        {
            world.Truth.Violated($"{actor.Name} refused to collect: {refusal.Message}");
            return null;
        }
    }
}
