// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Amazon.Runtime;
using Amazon.S3.Model;

namespace Tidemark.Storage;

public sealed partial class S3Store
{
    /// <summary>The date that the server puts on its answers.</summary>
    public async ValueTask<DateTimeOffset?> ReadClockAsync(CancellationToken cancellationToken)
    {
        string? date = null;
        Client.AfterResponseEvent += Note;
        using var guard = new StallGuard(_options.StallTime, cancellationToken);
        try
        {
            await Client.ListObjectsV2Async(
                new ListObjectsV2Request { BucketName = _options.Bucket, Prefix = _prefix + ObjectNames.Config, MaxKeys = 1 }, guard.Token);
        }
        catch (Exception failure) when (IsStores(failure, guard))
        {
            throw Failed(failure, "ask the time of");
        }
        finally
        {
            Client.AfterResponseEvent -= Note;
        }

        return DateTimeOffset.TryParseExact(date, "r", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time
            : null;

        void Note(object sender, ResponseEventArgs answer) =>
            date = answer is WebServiceResponseEventArgs { ResponseHeaders: { } headers } && headers.TryGetValue("Date", out var found)
                ? found
                : date;
    }
}
