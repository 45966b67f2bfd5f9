// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>Builds what a seed plays: the repository, the machines and who works on them.</summary>
internal static class Scene
{
    private static readonly byte[] Config = MakeConfig();

    private static readonly TimeSpan[] Windows = [TimeSpan.Zero, TimeSpan.Zero, TimeSpan.FromMinutes(1), TimeSpan.FromHours(1)];

    public static readonly MachineId[] Machines = [new("alpha"), new("beta"), new("gamma")];

    public static World Begin(
        int seed, List<string>? trace = null, WriterRules? writerRules = null, CollectorRules? collectorRules = null)
    {
        var world = Empty(seed, trace, writerRules, collectorRules);
        var isSmall = world.Random.Next(2) == 0; // few act, and collections come to their end while they do
        var writers = isSmall ? world.Random.Next(1, 3) : world.Random.Next(2, 4);
        Found(world);
        for (var writer = 0; writer < writers; writer++)
        {
            // Two hosts now and then have the same machine, as after a failover that was none.
            var machine = Machines[world.Random.Next(8) == 0 ? 0 : writer % Machines.Length];
            AddWriter(world, $"writer-{writer}", (ulong)writer + 1, machine, isSmall ? world.Random.Next(6, 9) : world.Random.Next(4, 7));
        }

        for (var reader = 0; reader < 2; reader++)
            world.Spawn($"reader-{reader}", 10 + (ulong)reader, actor => new ReaderWork(actor).RunAsync(world.Random.Next(1, 4)));
        var window = Windows[world.Random.Next(Windows.Length)];
        for (var collector = 0; collector < (isSmall ? 1 : 2); collector++)
            AddCollector(world, $"collector-{collector}", 20 + (ulong)collector, world.Random.Next(1, 4), window);
        AddRetirer(world, "retirer", 12);
        world.Spawn("fencer", 7, actor => FencerWork.RunAsync(actor, world.Random.Next(0, 3)));
        return world;
    }

    /// <summary>A repository in which nothing has happened yet.</summary>
    public static World Empty(int seed, List<string>? trace, WriterRules? writerRules, CollectorRules? collectorRules)
    {
        var world = new World(seed)
        {
            Trace = trace,
            WriterRules = writerRules ?? WriterRules.All,
            CollectorRules = collectorRules ?? CollectorRules.All,
        };
        world.Objects.TryCreate("config", Config);
        return world;
    }

    // A history to begin with: two machines with two points each, of which one may be deleted.
    private static void Found(World world)
    {
        var rough = world.Faults;
        world.Faults = Faults.None;
        foreach (var machine in Machines[..2])
        {
            world.Spawn("founder", 30, actor => new WriterWork(actor, machine).RunAsync(2));
            world.Run();
            if (world.Random.Next(2) == 0)
                world.Spawn("founder", 30, actor => RetirerWork.RunAsync(actor, 1, 1));
            world.Run();
        }

        if (world.Random.Next(2) == 0)
            world.Spawn("founder", 30, actor => CollectorWork.RunAsync(actor, 2, TimeSpan.Zero));
        world.Run();
        world.Faults = rough;
    }

    private static void AddRetirer(World world, string name, int times)
    {
        if (times > 0)
            world.Spawn(name, 8, actor => RetirerWork.RunAsync(actor, 1, times), () => AddRetirer(world, name + "'", times - 3));
    }

    // A process that dies is followed by another one on its host, which has less to do.
    private static void AddWriter(World world, string name, ulong host, MachineId machine, int runs)
    {
        if (runs > 0)
            world.Spawn(
                name, host, actor => new WriterWork(actor, machine).RunAsync(runs),
                () => AddWriter(world, name + "'", host, machine, runs - 1));
    }

    private static void AddCollector(World world, string name, ulong host, int times, TimeSpan window)
    {
        if (times > 0)
            world.Spawn(
                name, host, actor => CollectorWork.RunAsync(actor, times, window),
                () => AddCollector(world, name + "'", host, times - 1, window));
    }

    // The same for every seed, so that a seed gives the same ids in every process.
    private static byte[] MakeConfig()
    {
        var id = new Guid("6f1d3e0a-52b1-4c57-9a34-0c8f7d21b6e5");
        var master = Enumerable.Range(1, RepositoryKeys.KeySize).Select(value => (byte)value).ToArray();
        var config = new ConfigDocument
        {
            Format = ConfigFile.CurrentFormat,
            Id = id.ToString("N"),
            Encryption = ConfigFile.NoEncryption,
            PublicMaster = Convert.ToHexStringLower(master),
        };
        return ConfigFile.Write(config, new RepositoryKeys(master, id, encrypted: false));
    }
}
