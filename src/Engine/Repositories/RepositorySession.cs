// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Storage;

namespace Tidemark.Engine.Repositories;

/// <summary>An open repository, as the engine and its users need it. Dispose it when done.</summary>
public sealed class RepositorySession : IAsyncDisposable
{
    private readonly IObjectStore _store;

    private RepositorySession(string url, IObjectStore store, Repository repository)
    {
        Url = url;
        _store = store;
        Repository = repository;
    }

    /// <summary>Where it is, in a form that another process can open.</summary>
    public string Url { get; }

    /// <summary>The first 8 hex digits of its id, which mark its checkpoints.</summary>
    public string Part => Repository.Id.ToString("n")[..8];

    internal Repository Repository { get; }

    /// <summary>Creates a repository; a key file that does not exist is made.</summary>
    /// <param name="url">A folder.</param>
    /// <param name="access">What will open it; null for no encryption.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The repository's id.</returns>
    /// <exception cref="EngineException">The folder is in use or cannot hold a repository.</exception>
    public static async Task<Guid> InitAsync(string url, RepositoryAccess? access, CancellationToken cancellationToken)
    {
        await using var store = OpenStore(url, create: true);
        var newKey = access?.KeyFile is { } file && !File.Exists(file) ? file : null;
        try
        {
            if (newKey is not null)
                await WriteKeyFileAsync(newKey, cancellationToken);
            var options = new InitOptions { Credentials = access is null ? Credentials.None : ReadCredentials(access) };
            using var repository = await Repository.InitAsync(store, options, new OpenOptions(), cancellationToken);
            return repository.Id;
        }
        catch (Exception e)
        {
            if (newKey is not null)
                File.Delete(newKey);
            throw Failures.Translate(e);
        }
    }

    /// <exception cref="EngineException">There is none, the key is wrong, or it is of a newer format.</exception>
    public static async Task<RepositorySession> OpenAsync(string url, RepositoryAccess access, CancellationToken cancellationToken)
    {
        var store = OpenStore(url, create: false);
        try
        {
            // Said before anything about keys: a wrong path is the likelier mistake.
            if (await store.HeadAsync("config", cancellationToken) is null)
                throw new RepositoryNotFoundException(store.Description);
            var repository = await Repository.OpenAsync(store, ReadCredentials(access), new OpenOptions(), cancellationToken);
            return new RepositorySession(FullUrl(url), store, repository);
        }
        catch (Exception e)
        {
            await store.DisposeAsync();
            throw Failures.Translate(e);
        }
    }

    /// <summary>All restore points, oldest first within a machine, and what of them cannot be read.</summary>
    public async Task<PointList> PointsAsync(CancellationToken cancellationToken)
    {
        try
        {
            var listing = await Repository.ListPointsAsync(null, cancellationToken);
            return new PointList(
                listing.Points.Reverse().Select(Describe).ToList(), listing.Damaged.Select(damage => damage.Message).ToList());
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    /// <summary>Finds out how a run ended, by ending it if it has not: after this it is settled for good.</summary>
    public static async Task<RunFate> FenceAsync(string url, string machineUuid, Guid run, CancellationToken cancellationToken)
    {
        await using var store = OpenStore(url, create: false);
        return await FenceAsync(store, machineUuid, run, cancellationToken);
    }

    public Task<RunFate> FenceAsync(string machineUuid, Guid run, CancellationToken cancellationToken) =>
        FenceAsync(_store, machineUuid, run, cancellationToken);

    /// <summary>Checks what the repository holds.</summary>
    /// <param name="level">How deep.</param>
    /// <param name="points">Ids of restore points; empty for all.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    public Task<Verify.VerifyResult> VerifyAsync(
        Verify.VerifyLevel level, IReadOnlyList<string> points, CancellationToken cancellationToken) =>
        Verify.VerifyRun.RunAsync(Repository, level, points, cancellationToken);

    public ValueTask DisposeAsync()
    {
        Repository.Dispose();
        return _store.DisposeAsync();
    }

    /// <summary>The committed points of a machine, oldest first.</summary>
    internal async Task<IReadOnlyList<RestorePoint>> PointsOfAsync(string machineUuid, CancellationToken cancellationToken) =>
        (await Repository.ListPointsAsync(new MachineId(machineUuid), cancellationToken)).Points.Reverse().ToList();

    /// <summary>The stored form of a point that was listed.</summary>
    internal async Task<RestorePoint> FindAsync(PointInfo point, CancellationToken cancellationToken) =>
        (await PointsOfAsync(point.MachineUuid, cancellationToken)).FirstOrDefault(found => found.ShortId == point.Id)
        ?? throw EngineException.Failed($"Restore point '{point.Id}' was deleted meanwhile.", "tidemark list");

    internal static PointInfo Describe(RestorePoint point) => new()
    {
        Id = point.ShortId,
        Machine = point.Name,
        MachineUuid = point.Uuid,
        Host = point.Host,
        Time = point.Time,
        Seq = point.Seq,
        Consistency = point.Consistency,
        Tags = point.Tags.Select(tag => tag.Split('=', 2)).ToDictionary(
            parts => parts[0], parts => parts.Length > 1 ? parts[1] : "", StringComparer.Ordinal),
        Protected = point.Label.IsProtectedAt(TimeProvider.System.GetUtcNow()),
        ProtectedUntil = point.Label.Until,
        Disks = point.Disks.Select(Describe).ToList(),
        NotProtected = point.NotProtected.Select(disk => new NotProtectedInfo(disk.Name, disk.Reason)).ToList(),
        Warnings = point.Warnings,
    };

    private static DiskInfo Describe(PointDisk disk) => new()
    {
        Name = disk.Name,
        Size = disk.Size,
        Mode = disk.Mode,
        Reason = disk.Reason ?? "",
        ChangedBytes = disk.ChangedBytes,
        ReadBytes = disk.ReadBytes,
        StoredBytes = disk.StoredBytes,
        Root = disk.Root,
        ChunkSize = 1 << disk.ChunkLog2,
        Format = disk.Format?.GetValueOrDefault("type") ?? "raw",
        Checkpoint = disk.Checkpoint,
    };

    private static async Task<RunFate> FenceAsync(IObjectStore store, string machineUuid, Guid run, CancellationToken cancellationToken)
    {
        try
        {
            var end = await RunFence.FenceAsync(store, new MachineId(machineUuid), new RunId(run), cancellationToken);
            return end == RunEnd.Committed ? RunFate.Committed : RunFate.Revoked;
        }
        catch (StoreException)
        {
            return RunFate.Unknown;
        }
    }

    private static IObjectStore OpenStore(string url, bool create)
    {
        if (url.Contains("://", StringComparison.Ordinal))
        {
            throw EngineException.Usage(
                $"Repository '{url}' is not a folder; this version keeps repositories in folders only.", "--repo FOLDER");
        }

        var folder = FullUrl(url);
        if (!create && !Directory.Exists(folder))
            throw EngineException.Failed($"There is no repository at '{url}': the folder does not exist.", $"tidemark init --repo {url}");
        try
        {
            return new FolderStore(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or StoreException)
        {
            throw EngineException.Failed($"The repository folder '{url}' cannot be used: {e.Message}", inner: e);
        }
    }

    private static string FullUrl(string url) => Path.GetFullPath(url);

    private static Credentials ReadCredentials(RepositoryAccess access)
    {
        if (access.Password is { } password)
            return Credentials.FromPassword(password);
        if (access.KeyFile is not { } file)
            return Credentials.None;
        try
        {
            return Credentials.FromKeyFile(File.ReadAllText(file));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Usage($"Key file '{file}' cannot be read: {e.Message}");
        }
    }

    private static async Task WriteKeyFileAsync(string file, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = new FileStream(file, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            await stream.WriteAsync(System.Text.Encoding.ASCII.GetBytes(KeyFile.Generate()), cancellationToken);
            stream.Flush(flushToDisk: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed($"Key file '{file}' cannot be written: {e.Message}", inner: e);
        }
    }
}
