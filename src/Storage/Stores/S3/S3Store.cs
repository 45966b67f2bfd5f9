// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Runtime.CompilerServices;
using Amazon.S3;
using Amazon.S3.Model;
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage;

/// <summary>
/// A bucket, or what lies below a prefix of it, as object store (docs/format.md section 10a). Every method sends its request once;
/// what had no answer is tried again by <see cref="RetryStore"/>, which also settles creates whose answer was lost. Memory: nothing
/// that grows; uploads are spooled to unlinked files.
/// </summary>
public sealed partial class S3Store : IObjectStore
{
    private const int PageSize = 1000;
    private readonly S3Options _options;
    private readonly S3Connection _connection;
    private readonly string _prefix;
    private readonly HostLock? _creating;

    /// <exception cref="StoreException">What the options name can't be used on this host.</exception>
    public S3Store(S3Options options)
    {
        _options = options;
        _prefix = options.Prefix.Length > 0 ? options.Prefix + "/" : "";
        Description = $"s3://{options.Bucket}{(options.Prefix.Length > 0 ? "/" : "")}{options.Prefix}";
        _creating = options.SingleWriter ? new HostLock($"{options.Endpoint} {Description}") : null;
        _connection = new S3Connection(options);
    }

    public string Description { get; }

    public int ReadsAtOnce => 16;

    private AmazonS3Client Client => _connection.Client;

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        ObjectKey.Check(key);
        var body = new Body(content, null, content.Length, TransferMd5.Of(content.Span), IsNamedByHash: false);
        return CreateAsync(key, body, cancellationToken);
    }

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult<IObjectUpload>(new Upload(this));
    }

    public async ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (buffer.IsEmpty)
            return await HeadAsync(key, cancellationToken) is null ? throw new ObjectMissingException(key, Description) : 0;
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        try
        {
            var request = new GetObjectRequest
            {
                BucketName = _options.Bucket,
                Key = _prefix + key,
                ByteRange = new ByteRange(offset, offset + buffer.Length - 1),
            };
            using var response = await Client.GetObjectAsync(request, guard.Token);
            if (response.ContentLength > buffer.Length)
                throw new IOException($"{response.ContentLength} bytes came, {buffer.Length} were asked for");
            return await ReceiveAsync(response.ResponseStream, buffer[..(int)response.ContentLength], guard);
        }
        catch (AmazonS3Exception missing) when (S3Failures.IsMissing(missing))
        {
            throw new ObjectMissingException(key, Description);
        }
        catch (AmazonS3Exception beyond) when (S3Failures.IsBeyondEnd(beyond))
        {
            return 0;
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, $"read '{key}'");
        }
    }

    /// <summary>What can be seen in a bucket is durable.</summary>
    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public async ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken)
    {
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        try
        {
            var request = new GetObjectMetadataRequest { BucketName = _options.Bucket, Key = _prefix + key };
            var found = await Client.GetObjectMetadataAsync(request, guard.Token);
            return new ObjectInfo(key, found.ContentLength, TimeOf(found.LastModified));
        }
        catch (AmazonS3Exception missing) when (S3Failures.IsMissing(missing))
        {
            return null;
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, $"look up '{key}'");
        }
    }

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (string? next = null; ;)
        {
            var from = next;
            var page = _options.Retry is { } retry
                ? await retry.RunAsync(token => PageAsync(prefix, from, token), cancellationToken)
                : await PageAsync(prefix, from, cancellationToken);
            foreach (var found in page.S3Objects ?? [])
            {
                var key = found.Key[_prefix.Length..];
                if (ObjectKey.IsValid(key))
                    yield return new ObjectInfo(key, found.Size ?? 0, TimeOf(found.LastModified));
            }

            if (page.IsTruncated != true)
                yield break;
            next = page.NextContinuationToken;
        }
    }

    public ValueTask DisposeAsync()
    {
        _connection.Dispose();
        return ValueTask.CompletedTask;
    }

    private async ValueTask<ListObjectsV2Response> PageAsync(string prefix, string? from, CancellationToken cancellationToken)
    {
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        try
        {
            var request = new ListObjectsV2Request
            {
                BucketName = _options.Bucket,
                Prefix = _prefix + prefix,
                MaxKeys = PageSize,
                ContinuationToken = from,
            };
            var page = await Client.ListObjectsV2Async(request, guard.Token);
            if (page.IsTruncated == true && (string.IsNullOrEmpty(page.NextContinuationToken) || page.NextContinuationToken == from))
            {
                throw new StoreException(
                    $"Could not list '{prefix}' in '{Description}': a page says that more follow, but not where.", isTransient: true);
            }

            return (page.S3Objects ?? []).TrueForAll(found => found.Key.StartsWith(request.Prefix, StringComparison.Ordinal))
                ? page
                : throw new StoreException(
                    $"Could not list '{prefix}' in '{Description}': the server listed other keys.", isTransient: false);
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, $"list '{prefix}'");
        }
    }

    private async ValueTask<int> ReceiveAsync(Stream stream, Memory<byte> target, StallGuard guard)
    {
        var total = 0;
        while (total < target.Length)
        {
            var part = _options.Limit is { } limit ? Math.Min(limit.Slice, target.Length - total) : target.Length - total;
            var read = await stream.ReadAsync(target.Slice(total, part), guard.Token);
            if (read == 0)
                throw new IOException($"{total} of {target.Length} bytes came");
            total += read;
            guard.Moved();
            await guard.PaceAsync(_options.Limit, read);
        }

        return total;
    }

    private async ValueTask<bool> CreateAsync(string key, Body body, CancellationToken cancellationToken)
    {
        if (_creating is null)
            return await PutAsync(key, body, "*", cancellationToken);
        // What is named by its hash can be put twice; everything else is looked up and put by one process of this host at a time.
        using var alone = body.IsNamedByHash ? null : await _creating.TakeAsync(cancellationToken);
        return await HeadAsync(key, cancellationToken) is null && await PutAsync(key, body, null, cancellationToken);
    }

    private async ValueTask<bool> PutAsync(string key, Body body, string? ifNoneMatch, CancellationToken cancellationToken)
    {
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        try
        {
            await using var stream = new S3Body(body.Content, body.File, body.Length, guard, _options.Limit);
            var request = new PutObjectRequest
            {
                BucketName = _options.Bucket,
                Key = _prefix + key,
                InputStream = stream,
                AutoCloseStream = false,
                UseChunkEncoding = false,
                MD5Digest = Convert.ToBase64String(body.Md5),
                IfNoneMatch = ifNoneMatch,
            };
            SentOnce.Begin();
            await Client.PutObjectAsync(request, guard.Token);
            return true;
        }
        catch (AmazonS3Exception exists) when (exists.StatusCode == HttpStatusCode.PreconditionFailed)
        {
            return false;
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, $"create '{key}'");
        }
    }

    // What a caller that gave up gets is its own cancellation; a connection that took too long is a cancellation, too, but the store's.
    private static bool IsStores(Exception failure, StallGuard guard) =>
        failure is not StoreException && !(failure is OperationCanceledException && guard.IsGivenUp);

    private StoreException Failed(Exception failure, string what) => S3Failures.Translate(failure, what, Description, _options);

    private static DateTimeOffset TimeOf(DateTime? time) =>
        time is { } known ? new DateTimeOffset(known.ToUniversalTime()) : DateTimeOffset.UnixEpoch;

    /// <summary>What a PUT sends: memory or a file, its MD5, and whether its key is that of a pack.</summary>
    private sealed record Body(ReadOnlyMemory<byte> Content, SafeFileHandle? File, long Length, byte[] Md5, bool IsNamedByHash);
}
