// SPDX-License-Identifier: Apache-2.0
using Amazon.S3;
using Amazon.S3.Model;

namespace Tidemark.Storage;

public sealed partial class S3Store
{
    // What a server says of single objects of a batch when it is out of breath.
    private static readonly HashSet<string> PassingCodes =
        new(StringComparer.Ordinal) { "InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted", "RequestTimeout" };

    private const int MostKeys = 1000; // as S3 has it

    /// <summary>One: radosgw 16 breaks off its answer to a batch of a thousand (seen after 125 keys, invalid chunks), and the call hangs.
    /// Whoever knows the server may give more to <see cref="DeleteAsync(IReadOnlyList{string}, CancellationToken)"/>.</summary>
    public int DeleteBatch => 1;

    public async ValueTask DeleteAsync(string key, CancellationToken cancellationToken)
    {
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        try
        {
            await Client.DeleteObjectAsync(
                new DeleteObjectRequest { BucketName = _options.Bucket, Key = _prefix + key }, guard.Token);
        }
        catch (AmazonS3Exception missing) when (S3Failures.IsMissing(missing))
        {
            return;
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, $"delete '{key}'");
        }
    }

    public async ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(keys.Count, MostKeys, nameof(keys));
        if (keys.Count == 0)
            return;
        var (gone, refused) = await DeleteOnceAsync(keys, cancellationToken);
        var left = keys.Where(key => !gone.Contains(_prefix + key)).ToArray();
        if (left.Length == 0)
            return;
        var reason = refused.Count > 0 ? $"{refused[0].Code} ({refused[0].Message?.TrimEnd('.')})" : "the server did not confirm it";
        throw new StoreException(
            $"Could not delete '{left[0]}'{(left.Length > 1 ? $" and {left.Length - 1} other objects" : "")} in '{Description}': {reason}.",
            isTransient: refused.TrueForAll(error => PassingCodes.Contains(error.Code ?? "")));
    }

    // Whole keys that are confirmed gone, and what the server says of others; the SDK throws where it says anything.
    private async ValueTask<(HashSet<string> Gone, List<DeleteError> Refused)> DeleteOnceAsync(
        IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        var request = new DeleteObjectsRequest
        {
            BucketName = _options.Bucket,
            Objects = [.. keys.Select(key => new KeyVersion { Key = _prefix + key })],
        };
        DeleteObjectsResponse answer;
        try
        {
            answer = await Client.DeleteObjectsAsync(request, guard.Token);
        }
        catch (DeleteObjectsException partly)
        {
            answer = partly.Response;
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, $"delete '{keys[0]}' and what else was to go");
        }

        var missing = (answer.DeleteErrors ?? []).Where(error => error.Code == "NoSuchKey").Select(error => error.Key);
        return (
            [.. (answer.DeletedObjects ?? []).Select(deleted => deleted.Key).Concat(missing)],
            [.. (answer.DeleteErrors ?? []).Where(error => error.Code != "NoSuchKey")]);
    }
}
