// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// One seed: a store, actors, and the driver that decides at each step which task runs or which request takes effect, fails, is
/// delayed beyond its actor's death, or kills its actor. Single-threaded and fully determined by the seed.
/// </summary>
internal sealed class World
{
    private const int StepLimit = 2_000_000;
    private static readonly TimeSpan[] Jumps =
    [
        TimeSpan.FromMinutes(11), TimeSpan.FromMinutes(50), TimeSpan.FromHours(3), TimeSpan.FromHours(7), TimeSpan.FromHours(26),
        TimeSpan.FromDays(8),
    ];

    private static readonly HashSet<string> Telling = new(StringComparer.Ordinal) { "condemn", "wait", "verdict", "index" };

    private readonly List<StoreRequest> _pending = [];
    private readonly List<StoreRequest> _late = [];
    private readonly List<Actor> _actors = [];
    private readonly Dictionary<MachineId, List<RestorePoint>> _remembered = [];
    private readonly int _tallMachine;
    private readonly int _values;
    private long _step;
    private long _served;

    public World(int seed)
    {
        Seed = seed;
        Random = new Random(seed);
        Scheduler = new SeededScheduler(new Random(Random.Next()));
        Clock = new SimulatedClock();
        Objects = new ObjectTable(Clock);
        Faults = Faults.Choose(Random);
        Truth = new Truth(this);
        _tallMachine = Random.Next(Scene.Machines.Length);
        _values = Random.Next(8, Chunks.Values);
    }

    public int Seed { get; }

    public Random Random { get; }

    public SeededScheduler Scheduler { get; }

    public SimulatedClock Clock { get; }

    public ObjectTable Objects { get; }

    public Truth Truth { get; }

    public Counters Counters { get; } = new();

    public Faults Faults { get; set; }

    /// <summary>Requests served so far.</summary>
    public long Served => _served;

    public WriterRules WriterRules { get; init; } = WriterRules.All;

    public CollectorRules CollectorRules { get; init; } = CollectorRules.All;

    /// <summary>Readers registered and at work.</summary>
    public int ReadersAtWork { get; set; }

    public bool AreWritersAtWork => _actors.Exists(
        actor => !actor.IsDead && !actor.Work.IsCompleted && actor.Name.StartsWith("writer", StringComparison.Ordinal));

    /// <summary>Points that someone inherits from or reads just now: whose deletion hurts most.</summary>
    public List<RestorePoint> InUse { get; } = [];

    /// <summary>Broken promises, in words.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>What happened, one line a request, when someone wants to read it.</summary>
    public List<string>? Trace { get; init; }

    public IReadOnlyList<Actor> Actors => _actors;

    public Actor Spawn(string name, ulong host, Func<Actor, Task> work, Action? succeed = null)
    {
        var actor = new Actor(this, name, host, work) { Succeed = succeed };
        _actors.Add(actor);
        actor.Start();
        return actor;
    }

    /// <summary>Chunks of a machine's disk: few, or so many that its tree has two levels.</summary>
    public int ChunkCountOf(MachineId machine) => machine == Scene.Machines[_tallMachine] ? 130 : 6;

    /// <summary>The chunks of a machine's disk that ever hold data.</summary>
    public int[] SpotsOf(MachineId machine) => machine == Scene.Machines[_tallMachine] ? [0, 1, 64, 65, 129] : [0, 1, 2, 3, 4, 5];

    public int ChooseValue(Random random) => random.Next(1, _values);

    public OpenOptions OptionsOf(Actor actor) => new()
    {
        Writer = new WriterId(actor.Host),
        Host = $"host-{actor.Host}",
        Clock = Clock.For(TimeSpan.FromHours(((long)actor.Host - 2) * 29)),
        Scheduler = Scheduler,
        NewRun = NewRun,
        Processes = new SimulatedProcesses(this, actor),
    };

    public RunId NewRun()
    {
        Span<byte> bytes = stackalloc byte[16];
        Random.NextBytes(bytes);
        return new RunId(new Guid(bytes));
    }

    /// <summary>Notes that a point is in use, until the result is disposed of.</summary>
    public IDisposable? Use(RestorePoint? point) => point is null ? null : new PointUse(InUse, point);

    public void Submit(StoreRequest request)
    {
        if (!request.Actor.IsDead)
            _pending.Add(request);
    }

    /// <summary>The points of a machine that whoever backs it up has made, whatever became of them.</summary>
    public List<RestorePoint> RememberedOf(MachineId machine)
    {
        if (!_remembered.TryGetValue(machine, out var points))
            _remembered.Add(machine, points = []);
        return points;
    }

    public uint ChooseListingOrder() => Random.Next(2) == 0 ? 0 : (uint)Random.Next(1, int.MaxValue);

    public int ChoosePageSize() => Random.Next(4) != 0 ? 1000 : Random.Next(2, 9);

    /// <summary>Drives until every actor is done or dead.</summary>
    public void Run()
    {
        while (_actors.Exists(actor => !actor.IsDead && !actor.Work.IsCompleted))
            Step();
        while (Scheduler.ReadyCount > 0)
            Scheduler.RunOne();
        foreach (var actor in _actors.Where(actor => actor.Work.IsFaulted))
            Violations.Add($"{actor.Name} failed: {actor.Work.Exception!.InnerException}");
    }

    /// <summary>Requests still on their way take effect now, whoever sent them.</summary>
    public void LandAll()
    {
        while (_late.Count > 0)
            Land(Random.Next(_late.Count));
    }

    public void Release()
    {
        foreach (var actor in _actors)
            actor.Release();
    }

    private void Step()
    {
        if (++_step > StepLimit)
            throw new InvalidOperationException($"Seed {Seed} did not end within {StepLimit} steps; waiting: {Waiting()}.");
        if (Scheduler.Stray is { } stray)
            throw new InvalidOperationException($"Seed {Seed}: a task came from another thread: {stray}");
        if (Faults.Jump > 0 && Random.NextDouble() < Faults.Jump)
            Clock.Advance(Jumps[Random.Next(Jumps.Length)]);
        if (_late.Count > 0 && Random.Next(300) == 0)
            LandOne();
        var ready = Scheduler.ReadyCount;
        var chosen = Random.Next(ready + _pending.Count + 1);
        if (chosen < ready)
            Scheduler.RunOne();
        else if (chosen < ready + _pending.Count)
            Serve(chosen - ready);
        else if (ready + _pending.Count == 0)
            throw new InvalidOperationException($"Seed {Seed}: nothing can go on; unfinished: {Waiting()}.");
    }

    private void Serve(int index)
    {
        var request = _pending[index];
        if (request.Actor.PausedUntil > _served && _pending.Exists(
            other => other.Actor.PausedUntil <= _served && !IsWaiting(other)))
            return;
        if (IsWaiting(request) && (Scheduler.ReadyCount > 0 || _pending.Exists(other => !IsWaiting(other))))
            return;
        _pending[index] = _pending[^1];
        _pending.RemoveAt(_pending.Count - 1);
        Counters.Count("operations");
        _served++;
        Clock.Advance(TimeSpan.FromMilliseconds(Random.Next(2000)));
        var fate = Random.NextDouble();
        if (fate < Faults.Crash)
            Kill(request);
        else if ((fate -= Faults.Crash) < Faults.Error)
            Fail(request);
        else if ((fate - Faults.Error) < ChanceOfPause(request))
            Pause(request);
        else
            Succeed(request);
    }

    private static bool IsWaiting(StoreRequest request) => request.Until is { } isSo && !isSo();

    // Who is slow is best slow just before what others look at; a collector most of all.
    private double ChanceOfPause(StoreRequest request)
    {
        if (request.Kind != RequestKind.Create || Faults.Pause == 0)
            return Faults.Pause;
        if (Telling.Contains(request.Key[(request.Key.LastIndexOf('/') + 1)..]))
            return 0.35;
        var isSeen = request.Key.StartsWith("runs/", StringComparison.Ordinal)
            || request.Key.StartsWith("points/", StringComparison.Ordinal);
        return isSeen ? Faults.Pause * 10 : Faults.Pause;
    }

    private void Succeed(StoreRequest request)
    {
        var answer = request.Effect();
        if (ReadersAtWork > 0 && request.Kind == RequestKind.Delete && request.Key.StartsWith("packs/", StringComparison.Ordinal))
            Counters.Count("packs deleted beside readers");
        Trace?.Add($"{Clock.Now:dd HH:mm:ss} {request.Actor.Name} {request.Kind} {request.Key} -> {Show(answer)}");
        request.Answer.SetResult(answer);
    }

    private void Pause(StoreRequest request)
    {
        request.Actor.PausedUntil = _served + Random.Next(5, 200);
        Counters.Count("pauses");
        _pending.Add(request);
    }

    private void Fail(StoreRequest request)
    {
        switch (request.Changes ? Random.Next(3) : 0)
        {
            case 0:
                Trace?.Add($"{Clock.Now:dd HH:mm:ss} {request.Actor.Name} {request.Kind} {request.Key} fails");
                break;
            case 1:
                Trace?.Add($"{Clock.Now:dd HH:mm:ss} {request.Actor.Name} {request.Kind} {request.Key} -> {request.Effect()}, answer lost");
                Counters.Count("lost answers");
                break;
            default:
                Trace?.Add($"{Clock.Now:dd HH:mm:ss} {request.Actor.Name} {request.Kind} {request.Key} fails and is on its way");
                _late.Add(request);
                break;
        }

        request.Answer.SetException(new StoreException($"Injected: {request.Kind} of '{request.Key}'.", isTransient: Random.Next(2) == 0));
    }

    private void Kill(StoreRequest request)
    {
        var actor = request.Actor;
        actor.IsDead = true;
        Counters.Count("crashes");
        Trace?.Add($"{Clock.Now:dd HH:mm:ss} {actor.Name} dies at {request.Kind} {request.Key}");
        var left = _pending.Where(other => other.Actor == actor).Append(request).ToArray();
        _pending.RemoveAll(other => other.Actor == actor);
        foreach (var other in left.Where(other => other.Changes))
        {
            switch (Random.Next(3))
            {
                case 0:
                    Trace?.Add($"    {other.Kind} {other.Key} -> {other.Effect()} all the same");
                    break;
                case 1:
                    _late.Add(other);
                    break;
            }
        }

        actor.Succeed?.Invoke();
    }

    // Half of them are so late that everything else is over by then.
    private void LandOne()
    {
        var index = Random.Next(_late.Count);
        if (_late[index].Actor.Mark.Pid % 2 == 0)
            Land(index);
    }

    private void Land(int index)
    {
        var request = _late[index];
        _late.RemoveAt(index);
        var answer = request.Effect();
        Trace?.Add($"{Clock.Now:dd HH:mm:ss} late, of {request.Actor.Name}: {request.Kind} {request.Key} -> {answer}");
        if (answer is true)
            Counters.Count(request.Actor.IsDead ? "zombies" : "late requests of the living");
    }

    private sealed class PointUse : IDisposable
    {
        private readonly List<RestorePoint> _inUse;
        private readonly RestorePoint _point;

        public PointUse(List<RestorePoint> inUse, RestorePoint point)
        {
            (_inUse, _point) = (inUse, point);
            inUse.Add(point);
        }

        public void Dispose() => _inUse.Remove(_point);
    }

    private string Waiting() =>
        string.Join(", ", _actors.Where(actor => !actor.IsDead && !actor.Work.IsCompleted).Select(actor => actor.Name));

    private static string Show(object? answer) => answer switch
    {
        null => "nothing",
        byte[] bytes => $"{bytes.Length} bytes",
        List<(uint Order, ObjectInfo Info)> page => string.Join(' ', page.Select(entry => entry.Info.Key)),
        ObjectInfo info => $"{info.Size} bytes",
        _ => $"{answer}",
    };
}
