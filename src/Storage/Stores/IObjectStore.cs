// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>An object as a store lists it.</summary>
/// <param name="Key">Its key.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Modified">When the store created it, by the store's clock; used for liveness only, never for safety.</param>
public readonly record struct ObjectInfo(string Key, long Size, DateTimeOffset Modified);

/// <summary>
/// Where objects lie: a flat map from keys to bytes (docs/format.md sections 3 and 10). A key is 1 to 512 characters of
/// [A-Za-z0-9._%/-], its parts not empty, not "." or "..". Everything is create-only; a success is durable when it is returned, and
/// visible to every later call of anyone. Calls may overlap. Failures are <see cref="StoreException"/>; layers (retry, throttle,
/// meter, faults) wrap this interface.
/// </summary>
public interface IObjectStore : IAsyncDisposable
{
    /// <summary>What people call it, for messages: a path or URL without secrets.</summary>
    string Description { get; }

    /// <summary>The same store past any cache, for whoever must see what is really there. Owns nothing.</summary>
    IObjectStore Uncached => this;

    /// <summary>How many reads of some MiB it takes at once to get all out of it.</summary>
    int ReadsAtOnce => 8;

    /// <summary>Creates the object; of any number of callers exactly one gets true, the others false and an object that is
    /// durable.</summary>
    /// <exception cref="StoreFullException">There is no room for it: it was not created.</exception>
    /// <exception cref="StoreException">The store failed: the object may or may not exist.</exception>
    ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken);

    /// <summary>Begins an object whose key is known only after its bytes; nothing is visible until it is committed.</summary>
    ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken);

    /// <summary>Reads from <paramref name="offset"/> until the buffer is full or the object ends; returns the bytes read.</summary>
    /// <exception cref="ObjectMissingException">No such object.</exception>
    ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Size and time of an object, or null when there is none.</summary>
    ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken);

    /// <summary>Makes an object that was seen durable, as whoever created it may not have come to that, or has died before.</summary>
    ValueTask ConfirmAsync(string key, CancellationToken cancellationToken);

    /// <summary>
    /// Every object whose key begins with <paramref name="prefix"/> (empty, or ending in "/"), in no particular order. Complete or an
    /// exception: what could not be listed is never left out silently.
    /// </summary>
    IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, CancellationToken cancellationToken);

    /// <summary>Removes an object; absence is success. For maintenance only: writers have no right to it.</summary>
    ValueTask DeleteAsync(string key, CancellationToken cancellationToken);

    /// <summary>The store's clock now; null where it can't be asked without leaving an object.</summary>
    ValueTask<DateTimeOffset?> ReadClockAsync(CancellationToken cancellationToken) => ValueTask.FromResult<DateTimeOffset?>(null);

    /// <summary>The most keys that one call of <see cref="DeleteAsync(IReadOnlyList{string}, CancellationToken)"/> takes.</summary>
    int DeleteBatch => 1;

    /// <summary>Removes objects, at most <see cref="DeleteBatch"/>, in no particular order; absence is success.</summary>
    /// <exception cref="StoreException">Not all are confirmed gone; any of them may be. Doing it again is safe.</exception>
    async ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        foreach (var key in keys)
            await DeleteAsync(key, cancellationToken);
    }

    /// <summary>Finds out whether the store keeps the contract above, by trying it.</summary>
    /// <exception cref="StoreUnsuitableException">It does not; the message says in what.</exception>
    /// <exception cref="StoreException">It failed, which says nothing of the contract.</exception>
    ValueTask ProbeAsync(CancellationToken cancellationToken);
}

/// <summary>An object being written; disposing it without a commit leaves nothing behind. One caller at a time.</summary>
public interface IObjectUpload : IAsyncDisposable
{
    /// <summary>Appends bytes.</summary>
    ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>Publishes what was written under <paramref name="key"/>, durably; false when that key exists already. After a
    /// transient failure it may be called again.</summary>
    ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken);
}
