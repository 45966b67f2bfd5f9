// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Tidemark.Lab;

namespace Tidemark.Storm.Tests;

/// <summary>
/// One seed: a machine with two disks on two hosts, and random operations on it. The machine is paused, so nothing but the storm
/// writes to its disks, and what they hold is read from them. The same seed does the same, as far as real processes allow.
/// </summary>
internal sealed partial class Storm : IAsyncDisposable
{
    private const int Mebi = 1 << 20;
    private const int LookBackEvery = 8;

    // After these a disk may be read in full; the first one since its last backup is noted.
    private readonly Dictionary<string, string> _excuses = new(StringComparer.Ordinal);
    private readonly StringBuilder _log = new();
    private readonly Random _random;
    private readonly int _seed;
    private readonly string _root = Path.Combine(Path.GetTempPath(), $"tms-{Guid.NewGuid().ToString("n")[..8]}");
    private readonly List<StormHost> _hosts = [];
    private StormHost _at = null!;
    private LabMachine _machine = null!;
    private int _names;

    public Storm(int seed)
    {
        _seed = seed;
        _random = new Random(seed);
    }

    public StormTally Tally { get; } = new();

    /// <summary>The operations so far, one a line.</summary>
    public string Log => _log.ToString();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async Task PlayAsync(int operations)
    {
        await PrepareAsync();
        for (var number = 1; number <= operations; number++)
        {
            var operation = await ChooseAsync();
            _log.Append($"{number}. {operation.Name}");
            try
            {
                await operation.Run();
                Tally.CountOperation(operation.Name, refused: false);
            }
            catch (RefusedException refused)
            {
                Tally.CountOperation(operation.Name, refused: true);
                Say($"refused: {refused.Message}");
            }

            _log.Append('\n');
            if (number % LookBackEvery == 0)
                await LookBackAsync(3);
        }

        _log.Append("the end: a backup, and a look at all points\n");
        await BackUpAsync();
        await LookBackAsync(int.MaxValue);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var host in _hosts)
            await host.Lab.DisposeAsync();
        if (Directory.Exists(_root))
            Directory.Delete(_root, recursive: true);
    }

    private async Task PrepareAsync()
    {
        Directory.CreateDirectory(_root);
        foreach (var name in (string[])["A", "B"])
            _hosts.Add(await StormHost.StartAsync(name, Path.Combine(_root, name), Token));
        _at = _hosts[0];
        await InitRepositoryAsync();
        _machine = await LabMachine.DefineAsync(
            _at.Lab, $"storm{_seed}", new LabDisk("vda", 16 * Mebi), new LabDisk("vdb", 8 * Mebi) { CreateOptions = "cluster_size=4096" });
        foreach (var disk in _machine.Disks)
            await WriteNoiseAsync(disk, Mebi, 3 * Mebi);
    }

    private async Task<Operation> ChooseAsync()
    {
        // What a dead run left is cleaned by the next one; until then libvirt keeps most others waiting for half a minute.
        var busy = (await _machine.Domain.GetJobStatsAsync(cancellationToken: Token)).IsActive;
        var possible = Operations().Where(operation => !busy || operation.DuringJob).ToList();
        var pick = _random.Next(possible.Sum(operation => operation.Weight));
        foreach (var operation in possible)
        {
            pick -= operation.Weight;
            if (pick < 0)
                return operation;
        }

        throw new InvalidOperationException("No operation is possible.");
    }

    private IEnumerable<Operation> Operations() =>
    [
        new("backup", 16, BackUpAsync, DuringJob: true),
        new("backup while off", 2, BackUpWhileOffAsync),
        new("write", 14, WriteAsync, DuringJob: true),
        new("discard", 5, DiscardAsync, DuringJob: true),
        new("write zeroes", 5, WriteZeroesAsync, DuringJob: true),
        new("kill QEMU", 2, KillQemuAsync, DuringJob: true),
        new("stop and start", 3, RestartAsync, DuringJob: true),
        new("save and restore", 1, SaveAsync),
        new("kill us", 4, KillUsAsync, DuringJob: true),
        new("kill libvirtd", 2, KillLibvirtdAsync, DuringJob: true),
        new("define anew", 2, DefineAnewAsync),
        new("migrate", 3, MigrateAsync),
        new("snapshot", 4, SnapshotAsync),
        new("snapshot inside", 1, SnapshotInsideAsync),
        new("commit", 3, CommitAsync),
        new("commit middle", 2, CommitMiddleAsync),
        new("pull", 2, PullAsync),
        new("copy", 1, CopyAsync),
        new("resize", 3, ResizeAsync),
        new("remove bitmap", 2, RemoveBitmapAsync, DuringJob: true),
        new("delete our checkpoint", 2, DeleteCheckpointAsync),
        new("foreign checkpoint", 2, ForeignCheckpointAsync),
    ];

    private void Say(string what) => _log.Append($"; {what}");

    private string AnyDisk() => _random.Next(5) < 3 ? "vda" : "vdb";

    private string NewName(string prefix) => $"{prefix}{++_names}";

    private void Excuse(string operation, params IEnumerable<string> disks)
    {
        foreach (var disk in disks)
            _excuses.TryAdd(disk, operation);
    }

    // What libvirt or QEMU may say no to; everything else that fails, fails the storm.
    private static async Task MayBeRefusedAsync(Func<Task> operation)
    {
        try
        {
            await operation();
        }
        catch (Exception e) when (e is InvalidOperationException or Libvirt.LibvirtException)
        {
            throw new RefusedException(e.Message);
        }
    }

    private sealed record Operation(string Name, int Weight, Func<Task> Run, bool DuringJob = false);

    private sealed class RefusedException(string message) : Exception(message);
}
