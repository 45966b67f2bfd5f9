// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using Amazon.Runtime;
using Amazon.S3;

namespace Tidemark.Storage;

/// <summary>What the SDK and the network throw, as <see cref="StoreException"/>: what failed, on what, and whether it may pass.</summary>
internal static class S3Failures
{
    private const string EndpointHint = "AWS_ENDPOINT_URL is the server's address";

    /// <summary>Whether a failed call means that there is no such object.</summary>
    public static bool IsMissing(AmazonS3Exception failure) =>
        failure.StatusCode == HttpStatusCode.NotFound && failure.ErrorCode is not "NoSuchBucket";

    /// <summary>Whether a read began beyond the object's end.</summary>
    public static bool IsBeyondEnd(AmazonS3Exception failure) => failure.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable;

    /// <param name="failure">What was thrown.</param>
    /// <param name="what">What was tried, as in "read 'config'".</param>
    /// <param name="store">The store's description.</param>
    /// <param name="options">Where it is.</param>
    public static StoreException Translate(Exception failure, string what, string store, S3Options options) => failure switch
    {
        StoreException known => known,
        AmazonServiceException answer when (int)answer.StatusCode > 0 => Answered(answer, what, store, options),
        _ when Find<TimeoutException>(failure) is not null => Failed(
            what, store, $"{Server(options)} can't be reached (no answer in time)", true, failure, EndpointHint),
        _ when Find<OperationCanceledException>(failure) is not null => Failed(
            what, store, $"{Server(options)} sent and took nothing for {options.StallTime.TotalSeconds:0} s", true, failure),
        _ when Find<AuthenticationException>(failure) is { } tls => Failed(
            what, store, $"the server's certificate is not trusted ({tls.Message.TrimEnd('.')})", false, failure, options.CaBundle is null
                ? "AWS_CA_BUNDLE=FILE names the certificates (PEM) to trust in the place of the system's"
                : $"'{options.CaBundle}' (AWS_CA_BUNDLE) must hold the certificate that signed the server's"),
        _ when Find<SocketException>(failure) is { } socket => Failed(
            what, store, $"{Server(options)} can't be reached ({socket.Message})", true, failure, EndpointHint),
        AmazonClientException when Find<HttpRequestException>(failure) is null && Find<IOException>(failure) is null => Failed(
            what, store, "no credentials were found", false, failure,
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials (AWS_PROFILE)"),
        _ => Failed(what, store, $"the connection to {Server(options)} broke ({failure.GetBaseException().Message.TrimEnd('.')})", true,
            failure),
    };

    private static StoreException Answered(AmazonServiceException answer, string what, string store, S3Options options)
    {
        var code = answer.ErrorCode ?? "";
        return (code, answer.StatusCode) switch
        {
            ("NoSuchBucket", _) => Failed(
                what, store, $"bucket '{options.Bucket}' does not exist", false, answer,
                $"aws s3api create-bucket --bucket {options.Bucket}"),
            ("InvalidAccessKeyId", _) => Failed(
                what, store, "the server does not know this access key", false, answer, "AWS_ACCESS_KEY_ID, or the profile in AWS_PROFILE"),
            ("SignatureDoesNotMatch", _) => Failed(
                what, store, "the secret key is not the access key's", false, answer,
                "AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE"),
            ("RequestTimeTooSkewed" or "RequestExpired", _) => Failed(
                what, store,
                $"this host's clock differs too much from the server's; here it is {DateTimeOffset.UtcNow:yyyy-MM-dd HH:mm} UTC",
                false, answer, "timedatectl set-ntp true"),
            (_, HttpStatusCode.NotImplemented) => new StoreUnsuitableException(
                $"Could not {what} in '{store}': the server has no conditional create (501).", answer),
            (_, HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized) => Failed(
                what, store, $"these keys may not do that ({code})", false, answer, "the bucket's policy, or other keys"),
            _ => Failed(
                what, store, $"the server answered {(int)answer.StatusCode} {code} ({answer.Message.TrimEnd('.')})",
                IsTransient(answer, options), answer),
        };
    }

    // 409: another request for the same key at the same moment. A bare 400 over plain http: the connection got out of step after a
    // request that was refused before its body was read, as radosgw does; the next connection is a new one.
    private static bool IsTransient(AmazonServiceException answer, S3Options options) =>
        (int)answer.StatusCode >= 500
        || answer.StatusCode is HttpStatusCode.Conflict or HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests
        || answer.ErrorCode is "RequestTimeout" or "SlowDown" or "BadDigest" or "XAmzContentSHA256Mismatch"
        || (answer.ErrorCode is "BadRequest" && options.Endpoint?.StartsWith("http:", StringComparison.Ordinal) == true);

    private static StoreException Failed(
        string what, string store, string reason, bool isTransient, Exception failure, string? hint = null) =>
        new($"Could not {what} in '{store}': {reason}.", isTransient, failure) { Hint = hint };

    private static string Server(S3Options options) => options.Endpoint is { } endpoint ? $"'{endpoint}'" : "AWS S3";

    private static T? Find<T>(Exception failure)
        where T : Exception
    {
        for (var inner = failure; inner is not null; inner = inner.InnerException)
        {
            if (inner is T found)
                return found;
        }

        return null;
    }
}
