// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Tidemark.Qemu.Qmp;

namespace Tidemark.Qemu;

/// <summary>A file or block device of this host.</summary>
public sealed record StorageFile(string Path, bool IsDevice);

/// <summary>An image that <see cref="QemuStorageDaemon"/> opens for reading.</summary>
public sealed record StorageImage
{
    /// <summary>QEMU's name for it, at most 26 characters: the files below it are named after it.</summary>
    public required string Node { get; init; }

    /// <summary>QEMU's name of the format.</summary>
    public required string Format { get; init; }

    public required StorageFile File { get; init; }

    /// <summary>Node of the image below, opened before; null when there is none, whatever the image itself says.</summary>
    public string? Backing { get; init; }

    /// <summary>External data file of a qcow2 image; null when it has none.</summary>
    public StorageFile? DataFile { get; init; }
}

/// <summary>
/// qemu-storage-daemon, serving images over NBD. It reads them and takes no lock on them: a machine can start on them at any time, and
/// whoever reads has to find out. It ends with us, as every <see cref="OwnedProcess"/> does; what a kill in the middle of its start
/// leaves is found by its pid file's path (<see cref="EndLeftoverAsync"/>). It is ended by <c>quit</c> or SIGTERM, never by stopping
/// its NBD server, which would hang it while a client negotiates.
/// </summary>
public sealed class QemuStorageDaemon : IAsyncDisposable
{
    private const string Tool = "qemu-storage-daemon";
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(5);

    private readonly OwnedProcess _process;
    private readonly string _folder;
    private QmpClient? _monitor;
    private string? _socket;

    private QemuStorageDaemon(OwnedProcess process, string folder) => (_process, _folder) = (process, folder);

    public int ProcessId => _process.Id;

    /// <summary>Completes when the daemon has ended, whatever the reason.</summary>
    public Task<int> Ended => _process.Ended;

    private QmpClient Monitor => _monitor ?? throw new InvalidOperationException("The daemon has not started.");

    /// <summary>Starts a daemon without any image. Its pid file and monitor socket lie in <paramref name="folder"/>.</summary>
    /// <exception cref="ImageToolException">It is missing, ended at once, or is not ready in time.</exception>
    public static async Task<QemuStorageDaemon> StartAsync(string folder, CancellationToken cancellationToken)
    {
        var socket = Path.Combine(folder, "qmp.sock");
        string[] arguments =
        [
            "--pidfile", PidFile(folder),
            "--chardev", $"socket,path={socket.Replace(",", ",,", StringComparison.Ordinal)},server=on,wait=off,id=monitor",
            "--monitor", "chardev=monitor",
        ];
        var daemon = new QemuStorageDaemon(await OwnedProcess.StartAsync(Tool, arguments), folder);
        try
        {
            await daemon.WaitReadyAsync(cancellationToken);
            daemon._monitor = await QmpClient.ConnectAsync(socket, cancellationToken);
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Ends a daemon that serves from <paramref name="folder"/> and outlived its owner. It is known by its own command line, so that
    /// another process that got its number is never meant.
    /// </summary>
    /// <exception cref="ImageToolException">It did not end.</exception>
    public static async Task EndLeftoverAsync(string folder, CancellationToken cancellationToken)
    {
        var begun = Stopwatch.GetTimestamp();
        for (var signal = ProcessStarter.Terminate; Find(PidFile(folder)) is { } id;)
        {
            ProcessStarter.Signal(id, signal);
            var elapsed = Stopwatch.GetElapsedTime(begun);
            if (elapsed > 2 * StopLimit)
                throw new ImageToolException(Tool, null, "", $"Process {id}, a '{Tool}' of a dead run, does not end.");
            if (elapsed > StopLimit)
                signal = ProcessStarter.KillNow;
            await Task.Delay(10 * Poll, cancellationToken);
        }
    }

    /// <summary>Opens an image.</summary>
    /// <exception cref="QmpCommandException">It cannot be opened.</exception>
    public async Task OpenAsync(StorageImage image, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(image);
        await OpenFileAsync($"{image.Node}-file", image.File, cancellationToken);
        var format = new JsonObject
        {
            ["driver"] = image.Format,
            ["node-name"] = image.Node,
            ["file"] = $"{image.Node}-file",
            ["read-only"] = true,
        };
        if (image.DataFile is { } data)
        {
            await OpenFileAsync($"{image.Node}-data", data, cancellationToken);
            format["data-file"] = $"{image.Node}-data";
        }

        // Said for every image that can have one: left out, QEMU would open what the image names, with locks.
        if (image.Format == "qcow2")
            format["backing"] = image.Backing;
        await Monitor.ExecuteAsync("blockdev-add", format, cancellationToken);
    }

    /// <summary>
    /// Adds a bitmap to a node that holds everything that bitmap <paramref name="source"/> of any of these nodes holds; in memory only.
    /// </summary>
    /// <exception cref="QmpCommandException">One has no such bitmap, or it is inconsistent, or of another size.</exception>
    public async Task MergeBitmapsAsync(
        string node, string target, IEnumerable<string> nodes, string source, int granularity, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(nodes);
        await Monitor.ExecuteAsync(
            "block-dirty-bitmap-add",
            new JsonObject
            {
                ["node"] = node,
                ["name"] = target,
                ["granularity"] = granularity,
                ["persistent"] = false,
                ["disabled"] = true,
            },
            cancellationToken);
        var sources = nodes.Select(from => (JsonNode)new JsonObject { ["node"] = from, ["name"] = source });
        await Monitor.ExecuteAsync(
            "block-dirty-bitmap-merge",
            new JsonObject { ["node"] = node, ["target"] = target, ["bitmaps"] = new JsonArray([.. sources]) },
            cancellationToken);
    }

    /// <summary>Listens on a unix socket, which goes with the daemon. To be called once.</summary>
    public Task ListenAsync(string socket, CancellationToken cancellationToken)
    {
        _socket = socket;
        return Monitor.ExecuteAsync(
            "nbd-server-start",
            new JsonObject { ["addr"] = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = socket } } },
            cancellationToken);
    }

    /// <summary>Offers a node for reading, with one of its own bitmaps where that is given.</summary>
    public Task ExportAsync(string node, string name, string? bitmap, CancellationToken cancellationToken)
    {
        var export = new JsonObject
        {
            ["type"] = "nbd",
            ["id"] = $"export-{node}",
            ["node-name"] = node,
            ["name"] = name,
            ["writable"] = false,
        };
        if (bitmap is not null)
            export["bitmaps"] = new JsonArray(bitmap);
        return Monitor.ExecuteAsync("block-export-add", export, cancellationToken);
    }

    /// <summary>Why it ended, for one that was to go on; it has ended.</summary>
    public async Task<string> LastWordsAsync() =>
        (await _process.FailureAsync("serve the images until it was stopped")).Message;

    public async ValueTask DisposeAsync()
    {
        if (_monitor is { } monitor)
        {
            try
            {
                await monitor.ExecuteAsync("quit", null, CancellationToken.None, StopLimit);
            }
            catch (Exception e) when (e is QmpClosedException or QmpProtocolException or QmpCommandException or TimeoutException)
            {
                // It is gone, or the signal that follows ends it.
            }

            await monitor.DisposeAsync();
        }

        await _process.DisposeAsync();
        if (!Directory.Exists(_folder))
            return;
        File.Delete(PidFile(_folder));
        if (_socket is { } socket)
            File.Delete(socket);
    }

    private static string PidFile(string folder) => Path.Combine(folder, "daemon.pid");

    private Task OpenFileAsync(string node, StorageFile file, CancellationToken cancellationToken) => Monitor.ExecuteAsync(
        "blockdev-add",
        new JsonObject
        {
            ["driver"] = file.IsDevice ? "host_device" : "file",
            ["node-name"] = node,
            ["filename"] = file.Path,
            ["read-only"] = true,
            ["locking"] = "off",
            // Another host may have written to a shared device since this one last read it.
            ["cache"] = new JsonObject { ["direct"] = file.IsDevice },
        },
        cancellationToken);

    private async Task WaitReadyAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(StartLimit);
        try
        {
            // The pid file is written last, when the monitor listens.
            while (new FileInfo(PidFile(_folder)) is not { Exists: true, Length: > 0 })
            {
                if (_process.Ended.IsCompleted)
                    throw await _process.FailureAsync("start");
                await Task.Delay(Poll, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ImageToolException(Tool, null, "", $"'{Tool}' was not ready within {StartLimit.TotalSeconds} seconds.");
        }
    }

    // The process, or the wrapper that is about to become it, whose command line names this pid file. A dead one has no command line.
    private static int? Find(string pidFile)
    {
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var id))
                continue;
            try
            {
                var arguments = File.ReadAllText(Path.Combine(folder, "cmdline")).Split('\0');
                var at = Array.IndexOf(arguments, "--pidfile");
                if (at >= 0 && at + 1 < arguments.Length && arguments[at + 1] == pidFile)
                    return id;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended, or belongs to someone who hides it.
            }
        }

        return null;
    }
}
