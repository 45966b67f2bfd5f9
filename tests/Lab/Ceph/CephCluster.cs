// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Tidemark.Lab;

/// <summary>
/// A real Ceph with an S3 gateway, on loopback only (see the script beside this file). Started in some ten seconds; several may run at
/// once. Disposing it, or the death of this process in any way, ends its daemons and removes its folder.
/// </summary>
public sealed class CephCluster : IAsyncDisposable
{
    public const string AccessKey = "labaccesskey";
    public const string SecretKey = "labsecretkey0123456789";

    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(60);
    private readonly Process _serving;
    private readonly Dictionary<string, string> _environment;

    private CephCluster(Process serving, Dictionary<string, string> environment, int http, int https, string folder)
    {
        (_serving, _environment, Folder) = (serving, environment, folder);
        Endpoint = $"http://127.0.0.1:{http}";
        TlsEndpoint = $"https://localhost:{https}";
    }

    public string Folder { get; }

    public string Endpoint { get; }

    public string TlsEndpoint { get; }

    /// <summary>The certificate to trust for <see cref="TlsEndpoint"/>.</summary>
    public string CaBundle => Path.Combine(Folder, "tls.crt");

    /// <summary>Why none can be started here; null when one can.</summary>
    public static string? WhyUnavailable()
    {
        (string Program, string Package)[] needed =
        [
            ("ceph-mon", "ceph-mon"), ("ceph-mgr", "ceph-mgr"), ("ceph-osd", "ceph-osd"), ("radosgw", "radosgw"), ("ceph", "ceph-common"),
            ("curl", "curl"), ("openssl", "openssl"), ("python3", "python3"),
        ];
        foreach (var (program, package) in needed)
        {
            if (Tool.Find(program) is null)
                return $"'{program}' is not installed (package '{package}').";
        }

        return null;
    }

    /// <param name="osdBytes">Size of each of the three OSDs; what is stored lies on all of them.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="LabUnavailableException">A program is missing.</exception>
    public static async Task<CephCluster> StartAsync(long osdBytes = 10L << 30, CancellationToken cancellationToken = default)
    {
        if (WhyUnavailable() is { } reason)
            throw new LabUnavailableException(reason);
        var folder = $"/tmp/tmc-{Path.GetRandomFileName()[..6]}";
        Directory.CreateDirectory(folder);
        var script = Path.Combine(folder, "ceph-cluster");
        await using (var source = typeof(CephCluster).Assembly.GetManifestResourceStream("ceph-cluster")!)
        await using (var target = File.Create(script))
            await source.CopyToAsync(target, cancellationToken);
        var (http, https) = (FreePort(), FreePort());
        var environment = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["CEPH_LAB"] = folder,
            ["CEPH_LAB_HTTP"] = http.ToString(),
            ["CEPH_LAB_HTTPS"] = https.ToString(),
            // Below the ports that are given out at random, and a place of its own for each of many clusters.
            ["CEPH_LAB_MON"] = (10_000 + Environment.ProcessId % 80 * 250).ToString(),
            ["CEPH_LAB_OSD_BYTES"] = osdBytes.ToString(),
        };
        var serving = Process.Start(Script(script, environment, ["serve"], redirectInput: true))!;
        var cluster = new CephCluster(serving, environment, http, https, folder);
        try
        {
            var errors = serving.StandardError.ReadToEndAsync(cancellationToken);
            if (await serving.StandardOutput.ReadLineAsync(cancellationToken) != "ready")
                throw new InvalidOperationException($"The Ceph cluster did not start: {await errors}");
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>SIGKILL of one daemon: "osd.1", "rgw.a", "mon.a" or "mgr.x".</summary>
    public Task KillAsync(string daemon, CancellationToken cancellationToken) => RunAsync(["kill", daemon], cancellationToken);

    /// <summary>Starts a daemon again; it may need some seconds more.</summary>
    public Task UpAsync(string daemon, CancellationToken cancellationToken) => RunAsync(["up", daemon], cancellationToken);

    /// <summary>Waits until every object has all its copies: before the next OSD dies.</summary>
    public Task CleanAsync(CancellationToken cancellationToken) => RunAsync(["clean", "180"], cancellationToken);

    /// <summary>radosgw-admin.</summary>
    public Task<string> AdminAsync(IEnumerable<string> arguments, CancellationToken cancellationToken) =>
        RunAsync(["admin", .. arguments], cancellationToken);

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(EndPatience);
        using (_serving)
        {
            _serving.StandardInput.Close();
            await _serving.WaitForExitAsync(limit.Token);
        }
    }

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    // A session of its own: Ctrl-C in the terminal reaches the owner only, whose end then ends the cluster.
    private static ProcessStartInfo Script(
        string script, Dictionary<string, string> environment, IEnumerable<string> arguments, bool redirectInput)
    {
        var start = new ProcessStartInfo("setsid", ["-w", "bash", script, .. arguments])
        {
            RedirectStandardInput = redirectInput,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = "/",
        };
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        return start;
    }

    private async Task<string> RunAsync(string[] arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(
            Script(Path.Combine(Folder, "ceph-cluster"), _environment, arguments, redirectInput: false))!;
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode == 0
            ? await output
            : throw new InvalidOperationException($"ceph-cluster {string.Join(' ', arguments)} failed: {await output}{await errors}");
    }
}
