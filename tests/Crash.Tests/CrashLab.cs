// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Runtime.InteropServices;
using Tidemark.Crash.Tests;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Restore;
using Tidemark.Engine.Runs;
using Tidemark.Engine.Verify;
using Tidemark.Lab;

[assembly: AssemblyFixture(typeof(HostFixture))]
[assembly: CollectionBehavior(MaxParallelThreads = 2)]

namespace Tidemark.Crash.Tests;

/// <summary>One private libvirt host for all tests but those that trouble its daemon.</summary>
public sealed class HostFixture : IAsyncLifetime
{
    public LabHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Host = await LabHost.StartAsync(TestContext.Current.CancellationToken);

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}

/// <summary>How a process ended and what it said.</summary>
public sealed record Outcome(int ExitCode, string Output, string Error);

/// <summary>A repository and folders of a test's own, the real command line in processes, and what must hold after each.</summary>
public sealed partial class CrashLab : IAsyncDisposable
{
    public const int Killed = 128 + SigKill;

    private const int SigKill = 9;
    private static readonly TimeSpan CleanUpLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    private readonly string _root = Path.Combine(Path.GetTempPath(), $"tmc-{Guid.NewGuid().ToString("n")[..8]}");
    private readonly LabHost _host;

    private CrashLab(LabHost host) => _host = host;

    public static CancellationToken Token => TestContext.Current.CancellationToken;

    public HostFolders Folders { get; private set; } = null!;

    public LabHost Host => _host;

    /// <summary>How many restore points are in the repository's folder, readable or not.</summary>
    public int PointFiles =>
        Directory.EnumerateFiles(Path.Combine(RepositoryFolder, "points"), "*", SearchOption.AllDirectories)
            .Count(file => new FileInfo(file).Length > 0);

    private string RepositoryFolder => PathOf("repository");

    private RepositoryAccess Access => new(null, PathOf("key"));

    private static string[] Cli => ["dotnet", "exec", Built("src/Cli", "tidemark.dll")];

    public static async Task<CrashLab> CreateAsync(LabHost host)
    {
        var lab = new CrashLab(host);
        Directory.CreateDirectory(lab._root);
        lab.Folders = new HostFolders(lab.PathOf("state"), host.CreateFolder($"s{Guid.NewGuid().ToString("n")[..6]}"));
        await RepositorySession.InitAsync(lab.RepositoryFolder, lab.Access, allowSingleWriter: false, Token);
        return lab;
    }

    public string PathOf(string name) => Path.Combine(_root, name);

    /// <summary>A backup by the real command line.</summary>
    public Process StartBackup(LabMachine machine, params string[] options) => Start([.. Cli, "backup", machine.Name, .. options], []);

    /// <summary>A backup by the real command line, to its end.</summary>
    public Task<Outcome> BackUpAsync(LabMachine machine, params string[] options) => EndOfAsync(StartBackup(machine, options));

    /// <summary>A backup that kills itself at a step, to its end; its guardian is the real one.</summary>
    public Task<Outcome> DieAtAsync(LabMachine machine, RunStep step, bool withGuardian = false) => EndOfAsync(Start(
        ["dotnet", "exec", Built("tests/Worker", "Tidemark.Worker.dll"), machine.Domain.Uuid.ToString("d"), $"{step}", .. Cli, "guardian"],
        withGuardian ? [("WORKER_TAKES_GUARDIAN", "1")] : []));

    /// <summary>Starts a backup that stops in the middle, its job active and the guest thawed, until the returned file exists.</summary>
    /// <param name="machine">The machine.</param>
    /// <param name="scratch">Another scratch folder; null for the test's.</param>
    /// <param name="first">A machine to be backed up before it; null for none.</param>
    public async Task<(Process Backup, string Gate)> StartAndHoldAsync(LabMachine machine, string? scratch = null, LabMachine? first = null)
    {
        var gate = PathOf($"gate-{Guid.NewGuid().ToString("n")[..6]}");
        var (settings, over) = (gate + ".yaml", gate + ".over");
        var hook = $"echo >> {gate}; while [ ! -e {over} ]; do sleep 0.05; done; echo >> {gate}";
        await File.WriteAllTextAsync(settings, $"machines:\n  {machine.Name}:\n    afterThaw: ['{hook}']\n", Token);
        string[] machines = first is null ? [machine.Name] : [first.Name, machine.Name];
        var backup = Start(
            [.. Cli, "backup", .. machines, "--config", settings], scratch is null ? [] : [("TIDEMARK_SCRATCH", scratch)]);
        while (!File.Exists(gate))
        {
            if (backup.HasExited)
                Assert.Fail($"The backup ended before its frozen point: {await EndOfAsync(backup)}");
            await Task.Delay(Poll, Token);
        }

        return (backup, over);
    }

    public static async Task<Outcome> EndOfAsync(Process process)
    {
        using (process)
        {
            var (output, error) = (process.StandardOutput.ReadToEndAsync(Token), process.StandardError.ReadToEndAsync(Token));
            await process.WaitForExitAsync(Token);
            return new Outcome(process.ExitCode, await output, await error);
        }
    }

    /// <summary>The machine's restore points, oldest first; fails when the repository is not sound.</summary>
    public async Task<IReadOnlyList<PointInfo>> PointsAsync(LabMachine machine)
    {
        await using var repository = await RepositorySession.OpenAsync(RepositoryFolder, Access, Token);
        var list = await repository.PointsAsync(Token);
        Assert.Empty(list.Damaged);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Quick, [], Token)).Ok);
        return list.Points.Where(point => point.MachineUuid == machine.Domain.Uuid.ToString("d")).ToList();
    }

    /// <summary>One disk of a point, restored to a raw file in the test's folder.</summary>
    public async Task<string> RestoreAsync(PointInfo point, string disk)
    {
        await using var repository = await RepositorySession.OpenAsync(RepositoryFolder, Access, Token);
        var options = new RestoreOptions
        {
            Folder = PathOf($"restored-{Guid.NewGuid().ToString("n")[..8]}"),
            Format = "raw",
            Disks = [new RestoreDiskChoice(disk, null)],
        };
        var result = await RestoreRun.RunAsync(repository, null, point, options, _ => { }, Token);
        var restored = Assert.Single(result.Disks);
        Assert.True(restored.Verified);
        return restored.Target;
    }

    /// <summary>Fails unless a disk of the point, restored, is byte for byte the truth.</summary>
    public async Task AssertRestoresAsync(PointInfo point, string disk, byte[] truth)
    {
        var path = await RestoreAsync(point, disk);
        var restored = await File.ReadAllBytesAsync(path, Token);
        File.Delete(path);
        Assert.Equal(truth.Length, restored.Length);
        var same = restored.AsSpan().CommonPrefixLength(truth);
        Assert.True(same == truth.Length, $"Disk '{disk}' of point '{point.Id}' differs from byte {same} on.");
    }

    /// <summary>Fails unless, without a next run, no job is active and the scratch folder is empty a minute after the death.</summary>
    public async Task AssertNothingStaysAsync(LabMachine machine, long died, bool journal = false)
    {
        while (true)
        {
            var job = (await machine.Domain.GetJobStatsAsync(cancellationToken: Token)).IsActive;
            var left = Directory.GetFileSystemEntries(Folders.Scratch);
            var entries = journal ? Entries(Folders.Journal) : [];
            if (!job && left.Length + entries.Length == 0)
                return;
            Assert.True(
                Stopwatch.GetElapsedTime(died) < CleanUpLimit,
                $"A minute after the death: job {job}, scratch [{string.Join(' ', left)}], journal [{string.Join(' ', entries)}].");
            await Task.Delay(Poll, Token);
        }
    }

    /// <summary>Fails unless nothing is left of any run but the one checkpoint that the newest point needs, and its bitmaps.</summary>
    public async Task AssertCleanAsync(LabMachine machine, PointInfo newest)
    {
        Assert.False((await machine.Domain.GetJobStatsAsync(cancellationToken: Token)).IsActive);
        Assert.Empty(Directory.GetFileSystemEntries(Folders.Scratch));
        Assert.Empty(Entries(Folders.Journal));
        var checkpoint = Assert.Single(await machine.Domain.ListCheckpointsAsync(Token));
        Assert.All(newest.Disks, disk => Assert.Equal(checkpoint, disk.Checkpoint));
        var bitmaps = await BitmapsAsync(machine);
        Assert.Equal(newest.Disks.Count, bitmaps.Count);
        Assert.All(bitmaps, bitmap => Assert.Equal(checkpoint, bitmap));
    }

    /// <summary>Names of all persistent bitmaps on the machine's top images, one for each disk that has it.</summary>
    public static async Task<IReadOnlyList<string>> BitmapsAsync(LabMachine machine)
    {
        var names = new List<string>();
        foreach (var device in (await machine.QmpAsync("""{"execute":"query-block"}""", Token)).EnumerateArray())
        {
            if (!device.TryGetProperty("inserted", out var inserted) || !inserted.TryGetProperty("dirty-bitmaps", out var bitmaps))
                continue;
            foreach (var bitmap in bitmaps.EnumerateArray())
                names.Add(bitmap.GetProperty("name").GetString()!);
        }

        return names;
    }

    /// <summary>Sends a signal; a process that is gone already is no error.</summary>
    public static void Signal(int process, int signal) => _ = KillProcess(process, signal);

    public static void Kill(int process) => Signal(process, SigKill);

    /// <summary>Ids of a process's children, its guardian among them.</summary>
    public static IReadOnlyList<int> ChildrenOf(int process)
    {
        try
        {
            return Directory.EnumerateDirectories($"/proc/{process}/task")
                .SelectMany(task => File.ReadAllText(Path.Combine(task, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Select(id => int.Parse(id)).ToList();
        }
        catch (IOException)
        {
            return []; // It has ended.
        }
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_root, recursive: true);
        return ValueTask.CompletedTask;
    }

    private static string[] Entries(string folder) => Directory.Exists(folder) ? Directory.GetFileSystemEntries(folder) : [];

    private static string Built(string project, string file) => Path.Combine(
        AppContext.BaseDirectory.Replace("/tests/Crash.Tests/bin/", $"/{project}/bin/", StringComparison.Ordinal), file);

    private Process Start(IReadOnlyList<string> command, IEnumerable<(string Name, string Value)> environment)
    {
        var start = new ProcessStartInfo(command[0], command.Skip(1))
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["TIDEMARK_REPO"] = RepositoryFolder;
        start.Environment["TIDEMARK_KEY_FILE"] = Access.KeyFile;
        start.Environment["TIDEMARK_CONNECT"] = _host.Uri;
        start.Environment["TIDEMARK_STATE"] = Folders.State;
        start.Environment["TIDEMARK_SCRATCH"] = Folders.Scratch;
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int KillProcess(int process, int signal);
}
