// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Qemu;

/// <summary>How the host's page cache is used by a served image.</summary>
public enum CacheMode
{
    /// <summary>Through the page cache; a flush is a flush.</summary>
    Writeback,

    /// <summary>Past the page cache (O_DIRECT); a flush is a flush.</summary>
    None,

    /// <summary>Past the page cache, every write durable.</summary>
    Directsync,

    /// <summary>Through the page cache, every write durable.</summary>
    Writethrough,

    /// <summary>Flushes are ignored: only for files that may be lost.</summary>
    Unsafe,
}

/// <summary>What <see cref="QemuNbd"/> serves and how.</summary>
public sealed record QemuNbdOptions
{
    public required ImageRef Image { get; init; }

    /// <summary>Path of the unix socket, at most 107 bytes; a file that is there is replaced.</summary>
    public required string SocketPath { get; init; }

    /// <summary>Refuse writes. A writable image is locked, so that no machine can have it open.</summary>
    public bool ReadOnly { get; init; } = true;

    /// <summary>Connections at the same time; more wait unanswered. With more than one the server says multi-conn.</summary>
    public int MaxClients { get; init; } = 8;

    public CacheMode Cache { get; init; }

    /// <summary>Pass discards and zero writes on to the file as holes.</summary>
    public bool Unmap { get; init; } = true;

    /// <summary>Name of the export; empty is the default export.</summary>
    public string ExportName { get; init; } = "";

    /// <summary>Bitmaps offered as <c>qemu:dirty-bitmap:NAME</c>. QEMU looks for them through the whole backing chain.</summary>
    public IReadOnlyList<string> Bitmaps { get; init; } = [];

    /// <summary>Offer <c>qemu:allocation-depth</c>.</summary>
    public bool AllocationDepth { get; init; }
}

/// <summary>One image served by qemu-nbd on a unix socket until it is stopped, disposed, or we die.</summary>
public sealed class QemuNbd : IAsyncDisposable
{
    private const string Tool = "qemu-nbd";
    private const int MaxSocketPath = 107; // sockaddr_un.sun_path without its final zero byte
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopLimit = TimeSpan.FromMinutes(5); // the last flush of a slow disk
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(5);

    private readonly OwnedProcess _process;
    private readonly QemuNbdOptions _options;

    private QemuNbd(OwnedProcess process, QemuNbdOptions options) => (_process, _options) = (process, options);

    public string SocketPath => _options.SocketPath;

    public int ProcessId => _process.Id;

    /// <summary>Completes when the server has ended, whatever the reason.</summary>
    public Task<int> Ended => _process.Ended;

    /// <summary>Starts serving; the socket accepts connections when this returns.</summary>
    /// <exception cref="ImageToolException">The tool is missing, can't open the image, or is not ready in time.</exception>
    public static async Task<QemuNbd> ServeAsync(QemuNbdOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        var length = System.Text.Encoding.UTF8.GetByteCount(options.SocketPath);
        if (length > MaxSocketPath)
        {
            throw new ArgumentException(
                $"Socket path '{options.SocketPath}' has {length} bytes; at most {MaxSocketPath} are possible.", nameof(options));
        }

        // The server writes its pid file when it listens: a sign that needs no connection, which would count as a client.
        var ready = $"{options.SocketPath}.{Path.GetRandomFileName()}";
        var process = await OwnedProcess.StartAsync(Tool, Arguments(options, ready));
        var server = new QemuNbd(process, options);
        try
        {
            await server.WaitReadyAsync(ready, cancellationToken);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
        finally
        {
            File.Delete(ready);
        }
    }

    /// <summary>Ends the server and waits until the image is flushed and closed.</summary>
    /// <exception cref="ImageToolException">It had ended before, or did not end cleanly: writes may be lost.</exception>
    public async Task StopAsync()
    {
        if (_process.Ended.IsCompleted || await _process.StopAsync(StopLimit) != 0)
            throw await _process.FailureAsync($"serve '{_options.Image.Location}' until it was stopped");
        File.Delete(_options.SocketPath);
    }

    public async ValueTask DisposeAsync()
    {
        await _process.DisposeAsync();
        File.Delete(_options.SocketPath);
    }

    private static List<string> Arguments(QemuNbdOptions options, string readyFile)
    {
        List<string> arguments =
        [
            "--persistent", $"--socket={options.SocketPath}", $"--pid-file={readyFile}", $"--format={options.Image.Format}",
            $"--shared={options.MaxClients}", $"--cache={options.Cache.ToString().ToLowerInvariant()}",
            $"--discard={(options.Unmap ? "unmap" : "ignore")}", $"--export-name={options.ExportName}",
        ];
        if (options.ReadOnly)
            arguments.Add("--read-only");
        if (options.AllocationDepth)
            arguments.Add("--allocation-depth");
        foreach (var bitmap in options.Bitmaps)
            arguments.Add($"--bitmap={bitmap}");
        arguments.AddRange(["--", options.Image.Location]);
        return arguments;
    }

    private async Task WaitReadyAsync(string readyFile, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(StartLimit);
        try
        {
            // Not before its text is there: a file that is deleted while the server still locks it is made anew.
            while (new FileInfo(readyFile) is not { Exists: true, Length: > 0 })
            {
                if (_process.Ended.IsCompleted)
                    throw await _process.FailureAsync($"serve '{_options.Image.Location}'");
                await Task.Delay(Poll, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ImageToolException(
                Tool, null, "", $"'{Tool}' did not listen on '{_options.SocketPath}' within {StartLimit.TotalSeconds} seconds.");
        }
    }
}
