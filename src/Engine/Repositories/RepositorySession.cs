// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Points;
using Tidemark.Storage;

namespace Tidemark.Engine.Repositories;

/// <summary>An open repository, as the engine and its users need it. Dispose it when done.</summary>
public sealed partial class RepositorySession : IAsyncDisposable
{
    private static readonly TimeSpan LookLimit = TimeSpan.FromSeconds(5); // somebody waits at the terminal

    private readonly IObjectStore _store;
    private readonly RequestCounts _counts;

    private RepositorySession(string url, IObjectStore store, RequestCounts counts, Repository repository)
    {
        Url = url;
        (_store, _counts) = (store, counts);
        Repository = repository;
    }

    /// <summary>What was asked of the store so far.</summary>
    public Requests Requests => new(
        _counts.Puts, _counts.Gets, _counts.Heads, _counts.Lists, _counts.Deletes, _counts.BytesSent, _counts.BytesReceived);

    /// <summary>Where it is, in a form that another process can open.</summary>
    public string Url { get; }

    /// <summary>The first 8 hex digits of its id, which mark its checkpoints.</summary>
    public string Part => CheckpointName.RepositoryPart(Repository.Id);

    internal Repository Repository { get; }

    /// <summary>
    /// Creates a repository; a key file that does not exist is made. When that fails the file is removed again, unless the repository may
    /// be there all the same: then nothing else would open it.
    /// </summary>
    /// <param name="url">A folder, or "s3://BUCKET[/PREFIX]".</param>
    /// <param name="access">What will open it; null for no encryption.</param>
    /// <param name="allowSingleWriter">Take a store without atomic create, for this host as the only writer.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="EngineException">The store is in use or cannot hold a repository.</exception>
    public static async Task<NewRepository> InitAsync(
        string url, RepositoryAccess? access, bool allowSingleWriter, CancellationToken cancellationToken)
    {
        var newKey = access?.KeyFile is { } file && !File.Exists(file) ? file : null;
        var isBegun = false;
        try
        {
            if (newKey is not null)
                await WriteKeyFileAsync(newKey, cancellationToken);
            var options = new InitOptions { Credentials = access is null ? Credentials.None : ReadCredentials(access) };
            try
            {
                return await InitAsync(url, options, () => isBegun = true, cancellationToken);
            }
            catch (StoreUnsuitableException) when (allowSingleWriter)
            {
                return await InitAsync(url, options with { SingleWriter = true }, () => isBegun = true, cancellationToken);
            }
        }
        catch (Exception e)
        {
            if (newKey is not null && !(isBegun && await MayBeThereAsync(url, e)))
                File.Delete(newKey);
            if (e is OperationCanceledException)
                throw;
            throw Failures.Translate(e);
        }
    }

    public static Task<RepositorySession> OpenAsync(string url, RepositoryAccess access, CancellationToken cancellationToken) =>
        OpenAsync(url, access, new StoreChoices(), cancellationToken);

    /// <exception cref="EngineException">There is none, the key is wrong, or it is of a newer format.</exception>
    public static async Task<RepositorySession> OpenAsync(
        string url, RepositoryAccess access, StoreChoices choices, CancellationToken cancellationToken)
    {
        IObjectStore? store = null;
        try
        {
            (store, var counts) = await StoreOpener.OpenAsync(url, choices, cancellationToken);
            // Said before anything about keys: a wrong path is the likelier mistake.
            if (await store.HeadAsync("config", cancellationToken) is null)
                throw new RepositoryNotFoundException(store.Description);
            var repository = await Repository.OpenAsync(store, ReadCredentials(access), new OpenOptions(), cancellationToken);
            return new RepositorySession(StoreOpener.FullUrl(url), store, counts, repository);
        }
        catch (Exception e)
        {
            if (store is not null)
                await store.DisposeAsync();
            if (e is OperationCanceledException)
                throw;
            throw Failures.Translate(e);
        }
    }

    /// <summary>All restore points, oldest first within a machine, and what of them cannot be read.</summary>
    public async Task<PointList> PointsAsync(CancellationToken cancellationToken)
    {
        try
        {
            var listing = await Repository.ListReadablePointsAsync(null, cancellationToken);
            return new PointList(
                PointMarks.Mark(listing.Points).Reverse().Select(Describe).ToList(),
                listing.Damaged.Select(damage => damage.Message).ToList())
            {
                Unread = listing.Unread.Select(point => point.Failure.Message).ToList(),
            };
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    /// <summary>Finds out how a run ended, by ending it if it has not: after this it is settled for good.</summary>
    /// <param name="url">Where its repository was.</param>
    /// <param name="part">That repository's <see cref="Part"/>: a file system may not be mounted now, or another one.</param>
    /// <param name="machineUuid">The run's machine.</param>
    /// <param name="run">The run.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async Task<RunFate> FenceAsync(
        string url, string part, string machineUuid, Guid run, CancellationToken cancellationToken)
    {
        try
        {
            var (store, _) = await StoreOpener.OpenAsync(url, new StoreChoices(), cancellationToken);
            await using (store)
            {
                return await Repository.IdOfAsync(store, cancellationToken) is not { } id ? RunFate.Unknown
                    : CheckpointName.RepositoryPart(id) != part ? RunFate.OfAnother
                    : await FenceAsync(store, machineUuid, run, cancellationToken);
            }
        }
        catch (Exception e) when (e is StoreException or RepositoryNotFoundException)
        {
            return RunFate.Unknown;
        }
    }

    public Task<RunFate> FenceAsync(string machineUuid, Guid run, CancellationToken cancellationToken) =>
        FenceAsync(_store, machineUuid, run, cancellationToken);

    /// <summary>Only looks at what the repository holds.</summary>
    /// <param name="level">How deep.</param>
    /// <param name="points">Ids of restore points; empty for all.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    public Task<Verify.VerifyResult> VerifyAsync(
        Verify.VerifyLevel level, IReadOnlyList<string> points, CancellationToken cancellationToken) =>
        VerifyAsync(new Verify.VerifyRequest { Level = level, Points = points, Quarantine = false }, cancellationToken);

    public Task<Verify.VerifyResult> VerifyAsync(Verify.VerifyRequest request, CancellationToken cancellationToken) =>
        VerifyAsync(request, null, cancellationToken);

    /// <summary>Checks what the repository holds, and records damage unless told not to; reports the bytes read so far.</summary>
    public Task<Verify.VerifyResult> VerifyAsync(
        Verify.VerifyRequest request, IProgress<long>? progress, CancellationToken cancellationToken) =>
        Verify.VerifyRun.RunAsync(Repository, request, progress, cancellationToken);

    public ValueTask DisposeAsync()
    {
        Repository.Dispose();
        return _store.DisposeAsync();
    }

    /// <summary>The committed points of a machine, oldest first.</summary>
    internal async Task<IReadOnlyList<RestorePoint>> PointsOfAsync(string machineUuid, CancellationToken cancellationToken) =>
        (await Repository.ListPointsAsync(new MachineId(machineUuid), cancellationToken)).Points.Reverse().ToList();

    /// <summary>The stored form of a point that was listed, marked with what is known against it.</summary>
    internal async Task<RestorePoint> FindAsync(PointInfo point, CancellationToken cancellationToken) =>
        PointMarks.Mark((await Repository.ListReadablePointsAsync(new MachineId(point.MachineUuid), cancellationToken)).Points)
            .FirstOrDefault(found => found.ShortId == point.Id)
        ?? throw EngineException.Failed($"Restore point '{point.Id}' was deleted meanwhile.", "tidemark list");

    internal static PointInfo Describe(RestorePoint point) => new()
    {
        Id = point.ShortId,
        Machine = point.Name,
        MachineUuid = point.Uuid,
        Host = point.Host,
        Time = point.Time,
        Seq = point.Order,
        Consistency = point.Consistency,
        Tags = point.Tags.Select(tag => tag.Split('=', 2)).GroupBy(parts => parts[0], StringComparer.Ordinal).ToDictionary(
            tag => tag.Key, tag => tag.Last() is [_, var value] ? value : "", StringComparer.Ordinal), // the last of a name counts
        Protected = point.Label.IsProtectedAt(TimeProvider.System.GetUtcNow()),
        ProtectedUntil = point.Label.Until,
        Disks = point.Disks.Select(disk => Describe(point, disk)).ToList(),
        NotProtected = point.NotProtected.Select(disk => new NotProtectedInfo(disk.Name, disk.Reason)).ToList(),
        Warnings = [.. point.Warnings, .. PointMarks.Sentences(point.Disks)],
        CopiedFrom = point.Copied?.Repository,
        Domain = point.Domain.Length > 0 ? point.Domain : null,
    };

    private static DiskInfo Describe(RestorePoint point, PointDisk disk)
    {
        var oldest = disk.Audit?.Covered.MinBy(span => span.Seq);
        return new DiskInfo
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
            AuditedBytes = disk.Audit?.Bytes ?? 0,
            CoveredSince = oldest?.Time,
            CoveredSincePoint = point.Copied is null && Guid.TryParse(oldest?.Run, out var run) ? new RunId(run).ShortId : null,
            Doubt = disk.Doubt is { } doubt ? new DoubtInfo(doubt.Since, doubt.Found) : null,
        };
    }

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

    private static async Task<NewRepository> InitAsync(
        string url, InitOptions options, Action begin, CancellationToken cancellationToken)
    {
        var (store, _) = StoreOpener.Make(url, new StoreChoices(), options.SingleWriter);
        await using (store)
        {
            // A bucket says only here, in the body of an answer, what is wrong with keys or clock.
            if (await Repository.IsSingleWriterAsync(store, cancellationToken) is not null)
                throw new RepositoryExistsException($"There is a repository in '{store.Description}' already.");
            begin();
            using var repository = await Repository.InitAsync(store, options, new OpenOptions(), cancellationToken);
            return new NewRepository(repository.Id, options.SingleWriter);
        }
    }

    // Whether a repository that an attempt was making, when it failed, may be in the store.
    private static async Task<bool> MayBeThereAsync(string url, Exception failure)
    {
        if (failure is RepositoryExistsException or StoreUnsuitableException)
            return false; // refused: what is there is another one
        using var limit = new CancellationTokenSource(LookLimit);
        try
        {
            var (store, _) = StoreOpener.Make(url, new StoreChoices(), singleWriter: false);
            await using (store)
                return await store.HeadAsync("config", limit.Token) is not null;
        }
        catch (Exception e) when (e is StoreException or OperationCanceledException)
        {
            return true;
        }
    }

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
