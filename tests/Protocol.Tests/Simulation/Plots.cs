// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// Scenes that go straight for the moment in which one rule counts. What happens is given; who is slow, what listings show, who else is
/// about and, in one seed of four, which requests fail or kill, is the seed's.
/// </summary>
internal static class Plots
{
    public const string Heir = "who inherits registers when packs are condemned, and its base is deleted then";
    public const string Move = "what moved is read while its old pack goes";
    public const string Undo = "a deleted point is brought back after a collection, within its window";
    public const string Gap = "a run begins between two records of a collector, and reuses what is dead";
    public const string Share = "a run uses what another one has stored, which then fails, commits or dies";
    private const int MostCollections = 12;

    private static readonly TimeSpan LongWindow = TimeSpan.FromDays(10);

    private static readonly MachineId First = Scene.Machines[0];
    private static readonly MachineId Second = Scene.Machines[1];

    public static IReadOnlyList<string> Names { get; } = [Heir, Move, Undo, Gap, Share];

    public static World Begin(string plot, int seed, List<string>? trace, WriterRules? writerRules, CollectorRules? collectorRules)
    {
        var world = Scene.Empty(seed, trace, writerRules, collectorRules);
        var stage = new Stage();
        world.Faults = Faults.None;
        world.Spawn("founder", 1, actor => FoundAsync(actor, stage, isBaseKept: plot is Heir or Move));
        world.Run();
        world.Faults = world.Random.Next(4) == 0
            ? Faults.Choose(world.Random) with { Jump = 0 }
            : new Faults(0, 0, world.Random.NextDouble() * 0.03, 0);
        if (world.Random.Next(2) == 0)
            world.Spawn("bystander", 6, actor => new WriterWork(actor, Scene.Machines[2]).RunAsync(1));
        var window = plot == Undo ? LongWindow : TimeSpan.Zero;
        world.Spawn("collector", 20, actor => CollectAsync(actor, stage, window));
        Cast(plot, world, stage);
        return world;
    }

    private static void Cast(string plot, World world, Stage stage)
    {
        switch (plot)
        {
            case Heir:
                stage.MayCollect = () => stage.HasWaited;
                world.Spawn("waited for", 2, actor => KeepAnEpochOpenAsync(actor, stage));
                world.Spawn("heir", 3, actor => InheritAsync(actor, stage));
                world.Spawn("retirer", 8, actor => RetireAsync(actor, stage.Kept, () => stage.HasBegun));
                break;
            case Move:
                for (var reader = 0; reader < 3; reader++)
                    world.Spawn($"reader-{reader}", 10 + (ulong)reader, actor => ReadAsync(actor, stage));
                break;
            case Undo:
                var isLate = world.Random.Next(4) > 0;
                world.Spawn("undoer", 8, actor => BringBackAsync(actor, stage, () => !isLate || stage.HasCollected));
                break;
            case Share:
                var isEarly = world.Random.Next(2) == 0;
                stage.MayCollect = () => isEarly ? stage.HasGiven : stage.HasTaken;
                world.Spawn("giver", 2, actor => GiveAsync(actor, stage));
                world.Spawn("taker", 3, actor => TakeAsync(actor, stage));
                break;
            default:
                world.Spawn("reuser", 3, actor => ReuseAsync(actor, stage));
                break;
        }
    }

    // Two points of one machine, the first of them deleted; of its pack the second needs one chunk, or nothing.
    private static async Task FoundAsync(Actor actor, Stage stage, bool isBaseKept)
    {
        var world = actor.World;
        var repository = await actor.OpenAsync();
        var spots = world.SpotsOf(First);
        var before = new int[world.ChunkCountOf(First)];
        foreach (var (value, spot) in spots.Index())
            before[spot] = value + 1;
        var after = before.ToArray();
        var kept = spots[world.Random.Next(spots.Length)];
        foreach (var (value, spot) in spots.Index())
            after[spot] = isBaseKept && spot == kept ? before[spot] : spots.Length + value + 1;
        stage.Dead = await BackUpAsync(actor, repository, First, null, before);
        stage.Kept = await BackUpAsync(actor, repository, First, isBaseKept ? stage.Dead : null, after);
        stage.KeptSpot = kept;
        await RetireAsync(actor, stage.Dead, () => true);
    }

    private static async Task CollectAsync(Actor actor, Stage stage, TimeSpan window)
    {
        await actor.UntilAsync(stage.MayCollect);
        for (var time = 0; time < MostCollections && !stage.HasCollected; time++)
        {
            await ToleratedAsync(actor, async () =>
            {
                var result = await CollectorWork.CollectAsync(actor, window);
                stage.HasCollected = result is null || result.WaitingFor.Count == 0;
            });
            await ToleratedAsync(actor, () => actor.RestAsync(40));
        }

        stage.HasCollected = true;
    }

    // A run of another machine, begun before anything is condemned: the collector waits for it.
    private static Task KeepAnEpochOpenAsync(Actor actor, Stage stage) => ToleratedAsync(actor, async () =>
    {
        var content = new int[actor.World.ChunkCountOf(Second)];
        content[actor.World.SpotsOf(Second)[0]] = Chunks.Values - 1;
        await BackUpAsync(
            actor, await actor.OpenAsync(), Second, null, content,
            _ =>
            {
                stage.HasWaited = true;
                var expired = $"expire/{First}/{stage.Kept.Id}";
                return actor.UntilAsync(() => actor.World.Objects.Has(expired) || stage.HasCollected);
            });
    });

    private static Task InheritAsync(Actor actor, Stage stage) => ToleratedAsync(actor, async () =>
    {
        var world = actor.World;
        await actor.UntilAsync(() => world.Objects.Keys.Any(key => key.EndsWith("/wait", StringComparison.Ordinal)));
        var content = world.Truth.Of(stage.Kept)!.Content.ToArray();
        var changed = world.SpotsOf(First).First(spot => spot != stage.KeptSpot);
        content[changed] = Chunks.Values - 2;
        await BackUpAsync(
            actor, await actor.OpenAsync(), First, stage.Kept, content,
            _ =>
            {
                stage.HasBegun = true;
                return actor.UntilAsync(() => stage.HasCollected);
            });
    });

    private static Task ReuseAsync(Actor actor, Stage stage) => ToleratedAsync(actor, async () =>
    {
        var world = actor.World;
        await actor.UntilAsync(() => world.Objects.Keys.Any(
            key => key.EndsWith("/wait", StringComparison.Ordinal) || key.EndsWith("/condemn", StringComparison.Ordinal)));
        var content = new int[world.ChunkCountOf(Second)];
        foreach (var (value, spot) in world.SpotsOf(Second).Index())
            content[spot] = value + 1;
        await BackUpAsync(actor, await actor.OpenAsync(), Second, null, content, _ => actor.UntilAsync(() => stage.HasCollected));
    });

    private static Task GiveAsync(Actor actor, Stage stage) => ToleratedAsync(actor, async () =>
    {
        var world = actor.World;
        var fails = world.Random.Next(2) == 0;
        try
        {
            await BackUpAsync(actor, await actor.OpenAsync(), Second, null, GiftOn(world, Second), async run =>
            {
                await actor.UntilAsync(() => world.Objects.Keys.Any(
                    key => key.StartsWith("packs/", StringComparison.Ordinal) && key.Contains($"/{run.Id}/d-", StringComparison.Ordinal)));
                stage.HasGiven = true;
                await actor.UntilAsync(() => stage.HasTaken);
                if (fails)
                    throw new StoreException("The giver fails.", isTransient: false);
            }, inSmallPacks: true);
        }
        finally
        {
            stage.HasGiven = true;
        }
    });

    private static Task TakeAsync(Actor actor, Stage stage) => ToleratedAsync(actor, async () =>
    {
        await actor.UntilAsync(() => stage.HasGiven);
        try
        {
            var content = GiftOn(actor.World, First);
            content[actor.World.SpotsOf(First)[0]] = Chunks.Values - 1; // not to be found: this makes the run look around
            await BackUpAsync(actor, await actor.OpenAsync(), First, null, content, looksFirst: true);
        }
        finally
        {
            stage.HasTaken = true;
        }
    });

    private static int[] GiftOn(World world, MachineId machine)
    {
        var content = new int[world.ChunkCountOf(machine)];
        foreach (var (number, spot) in world.SpotsOf(machine).Index())
            content[spot] = Chunks.Values - 2 - number;
        return content;
    }

    private static async Task RetireAsync(Actor actor, RestorePoint point, Func<bool> when)
    {
        await actor.UntilAsync(when);
        var truth = actor.World.Truth.Of(point)!;
        truth.IsRetireAsked = true;
        await ToleratedAsync(actor, async () =>
        {
            var repository = await actor.OpenAsync();
            await repository.RetireAsync(point.MachineId, point.Id, null, CancellationToken.None);
            truth.IsRetired = true;
        });
    }

    private static async Task ReadAsync(Actor actor, Stage stage)
    {
        var world = actor.World;
        await actor.UntilAsync(() => world.Objects.Keys.Any(key => key.EndsWith("/verdict", StringComparison.Ordinal)));
        var content = world.Truth.Of(stage.Kept)!.Content;
        for (var time = 0; time < MostCollections && !stage.HasCollected; time++)
        {
            await ToleratedAsync(actor, async () =>
            {
                await using var run = await (await actor.OpenAsync()).BeginReadAsync(stage.Kept, CancellationToken.None);
                if (await Restoring.FirstWrongChunkAsync(run.OpenDisk("vda"), content) is var wrong and >= 0)
                    world.Truth.Violated($"Chunk {wrong} of point '{stage.Kept.Id}' was restored wrong.");
            });
        }
    }

    private static async Task BringBackAsync(Actor actor, Stage stage, Func<bool> when)
    {
        await actor.UntilAsync(when);
        await ToleratedAsync(actor, async () =>
        {
            var revived = await (await actor.OpenAsync()).UndoAsync(stage.Dead.MachineId, stage.Dead.Id, CancellationToken.None);
            actor.World.Truth.Of(revived)!.IsReported = true;
            actor.World.Counters.Count("points brought back");
        });
    }

    private static async Task<RestorePoint> BackUpAsync(
        Actor actor, Repository repository, MachineId machine, RestorePoint? origin, int[] content,
        Func<BackupRun, Task>? beforeTheEnd = null, bool looksFirst = false, bool inSmallPacks = false)
    {
        var before = origin is null ? null : actor.World.Truth.Of(origin)!.Content;
        var options = new BackupRunOptions
        {
            Bases = origin is null ? [] : [origin],
            Workers = 1,
            LookAfter = 1,
            PackTarget = inSmallPacks ? 1 : StorageLimits.PackTarget,
            Rules = actor.World.WriterRules,
        };
        await using var run = await repository.BeginRunAsync(machine, options, CancellationToken.None);
        var disk = run.OpenDisk("vda", (long)content.Length << Chunks.Log2, Chunks.Log2, origin?.Disk("vda").Tree);
        for (var chunk = 0; chunk < content.Length; chunk++)
        {
            if (content[chunk] == (before?[chunk] ?? 0))
                continue;
            var buffer = MemoryPool<byte>.Shared.Rent(Chunks.Size);
            Chunks.Of(content[chunk]).CopyTo(buffer.Memory.Span);
            await disk.WriteAsync(chunk, buffer, CancellationToken.None);
            if (looksFirst)
                await actor.UntilAsync(() => run.Others.Looks > 0);
        }

        if (beforeTheEnd is not null)
            await beforeTheEnd(run);
        var result = await disk.FinishAsync(CancellationToken.None);
        var truth = actor.World.Truth.Expect(machine, run.Id, content);
        var draft = new RestorePointDraft
        {
            Name = machine.Value,
            Time = actor.World.Clock.Now,
            Disks = [new DraftDisk(result, new PointDisk { Base = origin?.Id.ToString() })],
        };
        var point = await run.CommitAsync(draft, CancellationToken.None);
        truth.IsReported = true;
        actor.World.Counters.Count("commits");
        actor.World.Counters.Count("packs adopted", run.Adopted.Count);
        return point;
    }

    // What a store that fails, a deletion or another host may bring about; everything else is held against the code.
    private static async Task ToleratedAsync(Actor actor, Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (Exception failure) when (failure is StoreException or CommitUnknownException or RunRevokedException or BaseUnusableException)
        {
            actor.World.Counters.Count("actors that failed");
        }
        catch (Exception failure) when (failure is RepositoryDamagedException or PointGoneException)
        {
            actor.World.Truth.Violated($"{actor.Name}: {failure.Message}");
        }
    }

    /// <summary>What the actors of a plot tell each other.</summary>
    private sealed class Stage
    {
        /// <summary>The point deleted before the plot begins.</summary>
        public RestorePoint Dead { get; set; } = null!;

        public RestorePoint Kept { get; set; } = null!;

        /// <summary>The chunk that the second point inherited.</summary>
        public int KeptSpot { get; set; }

        public Func<bool> MayCollect { get; set; } = () => true;

        public bool HasWaited { get; set; }

        public bool HasBegun { get; set; }

        public bool HasCollected { get; set; }

        public bool HasGiven { get; set; }

        public bool HasTaken { get; set; }
    }
}
