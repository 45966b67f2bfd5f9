// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Bench;

/// <summary>What all rows share: folders, the lab host, the test disk, Tidemark's commands and the results. Removes what it made.</summary>
internal sealed class Bench : IAsyncDisposable
{
    private readonly string _folder;

    private Bench(string cache, string folder, LabHost host, int runs, CancellationToken token)
    {
        (Cache, _folder, Host, Runs, Token) = (cache, folder, host, runs, token);
        Results = new Results(Console.Out);
    }

    public CancellationToken Token { get; }

    public LabHost Host { get; }

    /// <summary>Runs that count, of each side.</summary>
    public int Runs { get; }

    public Results Results { get; }

    /// <summary>Images that are kept from one use to the next.</summary>
    public string Cache { get; }

    public static async Task<Bench> StartAsync(int runs, CancellationToken cancellationToken)
    {
        var cache = Path.GetFullPath(Environment.GetEnvironmentVariable("TIDEMARK_BENCH") ?? "artifacts/bench");
        var folder = Path.Combine(cache, $"work-{Guid.NewGuid().ToString("n")[..8]}");
        Directory.CreateDirectory(folder);
        var host = await LabHost.StartAsync(cancellationToken);
        host.GiveToQemu(folder);
        return new Bench(cache, folder, host, runs, cancellationToken);
    }

    /// <summary>A path of this use's own.</summary>
    public string PathOf(string name) => Path.Combine(_folder, name);

    /// <summary>A new empty folder that QEMU's user can write.</summary>
    public string Folder(string name)
    {
        var path = PathOf(name);
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
        Directory.CreateDirectory(path);
        Host.GiveToQemu(path);
        return path;
    }

    /// <summary>An image of the cache, made by <paramref name="make"/> when it is not there.</summary>
    public async Task<string> CachedAsync(string name, Func<string, Task> make)
    {
        var path = Path.Combine(Cache, name);
        if (!File.Exists(path))
        {
            Console.Error.WriteLine($"Making {name}, once");
            await make(path);
        }

        return path;
    }

    /// <summary>The 10 GiB disk with 3 GB of /usr.</summary>
    public Task<string> UsrImageAsync() => CachedAsync("usr.qcow2", path => Tool.RunAsync("bench/usr-image", [path], Token));

    /// <summary>A copy of an image that a machine may write, read once so that it is in the page cache.</summary>
    public async Task<string> CopyAsync(string image, string name)
    {
        var path = PathOf(name);
        await Tool.RunAsync("cp", ["--sparse=always", image, path], Token);
        Host.GiveToQemu(path);
        await Tool.RunAsync("cksum", [path], Token);
        return path;
    }

    /// <summary>A paused machine on an existing image, without checkpoints.</summary>
    public async Task<LabMachine> MachineAsync(string name, string image) =>
        await LabMachine.DefineAsync(Host, name, new LabDisk("vda", null) { Path = image });

    public Command Command() => new(this);

    /// <summary>This program again, as the client that is measured.</summary>
    public Task<Measured> ClientAsync(params string[] arguments) => Command().RunAsync(Environment.ProcessPath!, arguments);

    /// <summary>Tidemark with a repository of the bench; <paramref name="command"/> and arguments as on the command line.</summary>
    public Task<Measured> TidemarkAsync(string repository, params string[] command) => Command()
        .With("TIDEMARK_REPO", PathOf(repository))
        .With("TIDEMARK_KEY_FILE", PathOf("key"))
        .With("TIDEMARK_CONNECT", Host.Uri)
        .With("TIDEMARK_STATE", PathOf("state"))
        .With("TIDEMARK_SCRATCH", PathOf("scratch"))
        .RunAsync("artifacts/tidemark/tidemark", command);

    /// <summary>A new, empty, encrypted repository.</summary>
    public async Task InitAsync(string repository)
    {
        if (Directory.Exists(PathOf(repository)))
            Directory.Delete(PathOf(repository), recursive: true);
        Directory.CreateDirectory(PathOf("state"));
        if (!Directory.Exists(PathOf("scratch")))
            Folder("scratch");
        await TidemarkAsync(repository, "init");
    }

    /// <summary>Runs both sides in turns, once without counting and then <see cref="Runs"/> times.</summary>
    public async Task<List<(Measured Ours, Measured Theirs)>> InTurnsAsync(Func<Task<Measured>> ours, Func<Task<Measured>> theirs)
    {
        var pairs = new List<(Measured Ours, Measured Theirs)>();
        for (var run = 0; run <= Runs; run++)
            pairs.Add((await ours(), await theirs()));
        return pairs[1..];
    }

    /// <summary>Removes what a row has left, for the room.</summary>
    public void Clear()
    {
        Directory.Delete(_folder, recursive: true);
        Directory.CreateDirectory(_folder);
        Host.GiveToQemu(_folder);
    }

    public async ValueTask DisposeAsync()
    {
        await Host.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
