// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Restore;
using Tidemark.Engine.Runs;
using Tidemark.Engine.Tests;
using Tidemark.Lab;

[assembly: AssemblyFixture(typeof(LabFixture))]
[assembly: CollectionBehavior(MaxParallelThreads = 2)]

namespace Tidemark.Engine.Tests;

/// <summary>One private libvirt host for all tests; every test has machines and a repository of its own.</summary>
public sealed class LabFixture : IAsyncLifetime
{
    public LabHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Host = await LabHost.StartAsync(TestContext.Current.CancellationToken);

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}

/// <summary>What one test needs: a repository, folders for runs, a hypervisor connection, and the few steps all tests take.</summary>
public sealed class EngineLab : IAsyncDisposable
{
    private readonly string _root = Path.Combine(Path.GetTempPath(), $"tm-{Guid.NewGuid().ToString("n")[..8]}");

    private EngineLab(LabHost host) => Host = host;

    public static CancellationToken Token => TestContext.Current.CancellationToken;

    public LabHost Host { get; private set; }

    public string RepositoryFolder => Path.Combine(_root, "repository");

    public HostFolders Folders { get; private set; } = null!;

    public IHypervisor Hypervisor { get; private set; } = null!;

    public RepositorySession Repository { get; private set; } = null!;

    public List<RunEvent> Events { get; } = [];

    /// <summary>Called at every step of a run; may throw or write to the machine.</summary>
    public Action<RunStep> AtStep { get; set; } = _ => { };

    /// <summary>How a guardian is started: the real command line, built beside the tests.</summary>
    public static IReadOnlyList<string> Command => ["dotnet", "exec", CommandDll];

    private static string CommandDll =>
        AppContext.BaseDirectory.TrimEnd('/').Replace("/tests/Engine.Tests/bin/", "/src/Cli/bin/", StringComparison.Ordinal)
        + "/tidemark.dll";

    public static Task<EngineLab> CreateAsync(LabFixture fixture) => CreateAsync(fixture.Host);

    public static async Task<EngineLab> CreateAsync(LabHost host)
    {
        var lab = new EngineLab(host);
        Directory.CreateDirectory(lab._root);
        lab.Folders = new HostFolders(lab.PathOf("state"), host.CreateFolder($"s{Guid.NewGuid().ToString("n")[..6]}"));
        await RepositorySession.InitAsync(lab.RepositoryFolder, new RepositoryAccess(null, lab.KeyFile), allowSingleWriter: false, Token);
        lab.Repository = await lab.OpenRepositoryAsync();
        lab.Hypervisor = await Hypervisors.ConnectAsync(host.Uri, Token);
        return lab;
    }

    /// <summary>From now on runs on another host, which has never seen the machine or the repository.</summary>
    public async Task MoveAsync(LabHost host, string state)
    {
        await Hypervisor.DisposeAsync();
        Host = host;
        Folders = new HostFolders(PathOf(state), host.CreateFolder($"s{Guid.NewGuid().ToString("n")[..6]}"));
        Hypervisor = await Hypervisors.ConnectAsync(host.Uri, Token);
    }

    /// <summary>A folder of checkpoint records that hosts share; null for none.</summary>
    public string? CheckpointFolder { get; set; }

    /// <summary>
    /// Backs up, expects these modes in the order of the disks (one: of all disks), and that the point restores to what the disks hold.
    /// </summary>
    public async Task<PointInfo> AssertNextAsync(LabMachine machine, params string[] modes)
    {
        var truth = await TruthAsync(machine);
        var point = await BackUpAsync(machine);
        Assert.True(
            (modes is [var all] ? Enumerable.Repeat(all, point.Disks.Count) : modes).SequenceEqual(point.Disks.Select(disk => disk.Mode)),
            string.Join("; ", point.Disks.Select(disk => $"{disk.Name} {disk.Mode}: {disk.Reason}")) + " | " + string.Join("; ", Notices));
        await AssertRestoresAsync(point, truth);
        return point;
    }

    /// <summary>What runs told users so far.</summary>
    public IReadOnlyList<string> Notices
    {
        get
        {
            lock (Events)
                return Events.OfType<Notice>().Select(notice => notice.Text).ToList();
        }
    }

    public string KeyFile => Path.Combine(_root, "key");

    public Task<RepositorySession> OpenRepositoryAsync() =>
        RepositorySession.OpenAsync(RepositoryFolder, new RepositoryAccess(null, KeyFile), Token);

    /// <summary>A path of the test's own that goes with it.</summary>
    public string PathOf(string name) => Path.Combine(_root, name);

    public async Task<PointInfo> BackUpAsync(LabMachine machine, BackupOptions? options = null) =>
        await BackupRun.RunAsync(Context(), machine.Domain.Uuid.ToString("d"), options ?? new BackupOptions(), Token);

    public BackupContext Context() => Context(Hypervisor, Folders);

    public BackupContext Context(IHypervisor hypervisor, HostFolders folders) => new()
    {
        Hypervisor = hypervisor,
        Repository = Repository,
        Folders = folders,
        CheckpointFolder = CheckpointFolder,
        Guardians = new Guardians([.. Command, "guardian"], hypervisor.Connect, folders),
        Observer = happened =>
        {
            lock (Events)
                Events.Add(happened);
            if (happened is StepReached step)
                AtStep(step.Step);
        },
    };

    /// <summary>Restores every disk of a point to raw files; their paths by disk.</summary>
    public async Task<IReadOnlyDictionary<string, string>> RestoreAsync(PointInfo point, string format = "raw")
    {
        var folder = PathOf($"restored-{Guid.NewGuid().ToString("n")[..8]}");
        var options = new RestoreOptions { Folder = folder, Format = format };
        var result = await RestoreRun.RunAsync(Repository, null, point, options, _ => { }, Token);
        Assert.All(result.Disks, disk => Assert.True(disk.Verified));
        return result.Disks.ToDictionary(disk => disk.Name, disk => disk.Target, StringComparer.Ordinal);
    }

    /// <summary>Fails unless each disk of the point, restored, is byte for byte the given truth.</summary>
    public async Task AssertRestoresAsync(PointInfo point, IReadOnlyDictionary<string, byte[]> truth)
    {
        foreach (var (disk, path) in await RestoreAsync(point))
        {
            var restored = await File.ReadAllBytesAsync(path, Token);
            Assert.Equal(truth[disk].Length, restored.Length);
            var differs = restored.AsSpan().CommonPrefixLength(truth[disk]);
            Assert.True(differs == restored.Length, $"Disk '{disk}' of point '{point.Id}' differs from byte {differs} on.");
            File.Delete(path);
        }
    }

    /// <summary>The content of every disk now.</summary>
    public static async Task<IReadOnlyDictionary<string, byte[]>> TruthAsync(LabMachine machine)
    {
        var truth = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var disk in machine.Disks)
            truth.Add(disk, await machine.ReadDiskAsync(disk, Token));
        return truth;
    }

    /// <summary>Our checkpoints that libvirt knows of a machine.</summary>
    public static async Task<IReadOnlyList<string>> CheckpointsAsync(LabMachine machine) =>
        await machine.Domain.ListCheckpointsAsync(Token);

    /// <summary>Fails unless a run left nothing behind: no job, no scratch, no journal entry, one checkpoint at most.</summary>
    public async Task AssertCleanAsync(LabMachine machine, int checkpoints = 1)
    {
        Assert.False((await machine.Domain.GetJobStatsAsync(cancellationToken: Token)).IsActive);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Folders.Scratch));
        Assert.Empty(Directory.EnumerateFiles(Folders.Journal));
        Assert.Equal(checkpoints, (await CheckpointsAsync(machine)).Count);
    }

    public async ValueTask DisposeAsync()
    {
        await Hypervisor.DisposeAsync();
        await Repository.DisposeAsync();
        Directory.Delete(_root, recursive: true);
    }
}
