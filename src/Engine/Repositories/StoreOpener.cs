// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Storage;

namespace Tidemark.Engine.Repositories;

/// <summary>What a user chose about how a store is used.</summary>
public sealed record StoreChoices
{
    /// <summary>The most bytes a second, sent and received together; null for no limit.</summary>
    public long? BytesPerSecond { get; init; }
}

/// <summary>Requests made to a repository's store so far, every try of them, and the bytes of objects that went either way.</summary>
public sealed record Requests(long Put, long Get, long Head, long List, long Delete, long BytesSent, long BytesReceived);

/// <summary>
/// Makes the store that a URL names, with its layers, outermost first: cache (a bucket only), retry, throttle (a folder only: a bucket
/// paces its bodies itself), meter, store.
/// </summary>
internal static class StoreOpener
{
    private const string PatienceVariable = "TIDEMARK_STORE_PATIENCE";

    /// <summary>The form of a URL that another process can open.</summary>
    public static string FullUrl(string url) => S3Options.IsUrl(url) ? url : Path.GetFullPath(url);

    /// <summary>Opens the store of a repository that is there, as that repository needs it.</summary>
    /// <exception cref="EngineException">The URL makes no sense, or there is no repository.</exception>
    public static async Task<(IObjectStore Store, RequestCounts Counts)> OpenAsync(
        string url, StoreChoices choices, CancellationToken cancellationToken)
    {
        if (!S3Options.IsUrl(url))
        {
            if (!HasScheme(url) && !Directory.Exists(FullUrl(url)))
            {
                throw EngineException.Failed(
                    $"There is no repository at '{url}': the folder does not exist.", $"tidemark init --repo {url}");
            }

            return Make(url, choices, singleWriter: false);
        }

        var opened = Make(url, choices, singleWriter: false);
        try
        {
            var isSingle = await Repository.IsSingleWriterAsync(opened.Store, cancellationToken)
                ?? throw new RepositoryNotFoundException(opened.Store.Description);
            if (!isSingle)
                return opened;
        }
        catch
        {
            await opened.Store.DisposeAsync();
            throw;
        }

        await opened.Store.DisposeAsync();
        return Make(url, choices, singleWriter: true);
    }

    /// <summary>The store at a URL, whatever is there.</summary>
    /// <exception cref="EngineException">The URL makes no sense, or the folder can't be used.</exception>
    public static (IObjectStore Store, RequestCounts Counts) Make(string url, StoreChoices choices, bool singleWriter)
    {
        var counts = new RequestCounts();
        var limit = choices.BytesPerSecond is { } rate ? new RateLimit(rate, TimeProvider.System) : null;
        var retry = new RetryPolicy(TimeProvider.System, new Random()) { Patience = ReadPatience() };
        try
        {
            if (S3Options.IsUrl(url))
            {
                var options = S3Options.Parse(
                    url, Environment.GetEnvironmentVariable, S3Profile.Read(Environment.GetEnvironmentVariable));
                var bucket = new S3Store(options with { Retry = retry, Limit = limit, SingleWriter = singleWriter });
                var folder = new CacheFolder(
                    CacheFolder.PathFor($"{options.Endpoint} {bucket.Description}", Environment.GetEnvironmentVariable),
                    CacheFolder.DefaultLimit);
                return (new CacheStore(new RetryStore(new MeterStore(bucket, counts), retry), folder), counts);
            }

            if (HasScheme(url))
                throw EngineException.Usage($"Repository '{url}' is neither a folder nor a bucket.", "--repo FOLDER or --repo s3://BUCKET");
            IObjectStore store = new MeterStore(new FolderStore(FullUrl(url)), counts);
            return (new RetryStore(limit is null ? store : new ThrottleStore(store, limit), retry), counts);
        }
        catch (FormatException e)
        {
            throw EngineException.Usage(e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException && !S3Options.IsUrl(url))
        {
            throw EngineException.Failed($"The repository folder '{url}' cannot be used: {e.Message}", inner: e);
        }
    }

    private static bool HasScheme(string url) => url.Contains("://", StringComparison.Ordinal);

    private static TimeSpan ReadPatience()
    {
        if (Environment.GetEnvironmentVariable(PatienceVariable) is not { Length: > 0 } text)
            return TimeSpan.FromMinutes(5);
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
            ? TimeSpan.FromSeconds(seconds)
            : throw EngineException.Usage($"{PatienceVariable} is '{text}'; it must be a number of seconds.");
    }
}
