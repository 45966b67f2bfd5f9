// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Tidemark.Storage;

/// <summary>The epoch a collector works on was over long ago: look again.</summary>
internal sealed class StaleEpochException(int epoch) : Exception($"Epoch {epoch} is over.");

/// <summary>Creates an epoch's records: each has one winner, whom everyone follows.</summary>
internal sealed class EpochRecords(RepositoryContext context, int epoch)
{
    /// <summary>Creates a record, or reads the one that was created before.</summary>
    /// <exception cref="StaleEpochException">The epoch is over, so that what was there before may have been removed.</exception>
    public async Task<T> PutAsync<T>(string record, T document, JsonTypeInfo<T> type, CancellationToken cancellationToken)
        where T : class
    {
        var key = ObjectNames.Epoch(epoch, record);
        var content = context.Close(key, JsonSerializer.SerializeToUtf8Bytes(document, type));
        var created = await context.Store.PutIfAbsentAsync(key, content, cancellationToken);
        if (record != EpochListing.Done && await IsDoneAsync(cancellationToken))
            throw new StaleEpochException(epoch);
        if (created)
            return document;
        return await EpochListing.ReadRecordAsync(context, epoch, record, type, cancellationToken) ?? throw new StaleEpochException(epoch);
    }

    /// <summary>Whether the epoch has a verdict, or had one and is over.</summary>
    public async ValueTask<bool> IsDecidedAsync(CancellationToken cancellationToken) =>
        await context.Store.HeadAsync(ObjectNames.Epoch(epoch, EpochListing.Verdict), cancellationToken) is not null
        || await IsDoneAsync(cancellationToken);

    private async ValueTask<bool> IsDoneAsync(CancellationToken cancellationToken) =>
        await context.Store.HeadAsync(ObjectNames.Epoch(epoch, EpochListing.Done), cancellationToken) is not null;
}
