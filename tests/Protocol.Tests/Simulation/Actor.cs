// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// A process on some host: it lives until its work is done or the driver kills it; then nothing it still does reaches the store, but
/// requests of its that are on their way may.
/// </summary>
internal sealed class Actor(World world, string name, ulong host, Func<Actor, Task> work)
{
    private readonly List<Repository> _opened = [];

    public string Name => name;

    public ulong Host => host;

    public World World => world;

    public bool IsDead { get; set; }

    /// <summary>What follows on its host when it was killed.</summary>
    public Action? Succeed { get; init; }

    /// <summary>Until the driver has served so many requests nothing of it happens, if others can go on.</summary>
    public long PausedUntil { get; set; }

    /// <summary>What it looks like to who asks whether it lives.</summary>
    public ProcessMark Mark { get; } = new("boot", "space", world.Actors.Count + 1, 0);

    /// <summary>Its own choices; the order of its steps is the driver's.</summary>
    public Random Random { get; } = new(world.Random.Next());

    public Task Work { get; private set; } = Task.CompletedTask;

    public void Start() => Work = Task.Factory.StartNew(
        () => work(this), CancellationToken.None, TaskCreationOptions.DenyChildAttach, world.Scheduler).Unwrap();

    /// <summary>Opens the repository as this process; nothing is cached from before.</summary>
    public async Task<Repository> OpenAsync()
    {
        var repository = await Repository.OpenAsync(
            new SimulatedStore(world, this), Credentials.None, world.OptionsOf(this), CancellationToken.None);
        _opened.Add(repository);
        return repository;
    }

    /// <summary>Does nothing while up to so many requests of others are served.</summary>
    public async Task RestAsync(int requests)
    {
        PausedUntil = world.Served + Random.Next(requests);
        await new SimulatedStore(world, this).HeadAsync("config", CancellationToken.None);
    }

    /// <summary>Waits until something is so, or nothing else is left to happen; what it does beside goes on.</summary>
    public async Task UntilAsync(Func<bool> isSo)
    {
        try
        {
            await new SimulatedStore(world, this).WaitAsync(isSo);
        }
        catch (StoreException)
        {
            return; // it goes on all the same
        }
    }

    /// <summary>Gives back what its death left open.</summary>
    public void Release()
    {
        foreach (var repository in _opened)
            repository.Dispose();
        _opened.Clear();
    }
}
