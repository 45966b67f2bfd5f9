// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>How a run ended.</summary>
public enum RunEnd
{
    /// <summary>Its restore point exists.</summary>
    Committed,

    /// <summary>Its tombstone exists: it can never commit.</summary>
    Revoked,
}

/// <summary>
/// Ends a run from outside (docs/format.md section 9): the tombstone is put at its point's key, and either it won or the point was there
/// before (I5). Needs no key of the repository, so that a guardian process can do it.
/// </summary>
public static class RunFence
{
    /// <exception cref="StoreException">The store failed; fence again to know.</exception>
    public static ValueTask<RunEnd> FenceAsync(IObjectStore store, MachineId machine, RunId run, CancellationToken cancellationToken) =>
        FenceAsync(store, ObjectNames.Point(machine, run), cancellationToken);

    /// <summary>The same for any run that has a key under points/, a collector's too.</summary>
    internal static async ValueTask<RunEnd> FenceAsync(IObjectStore store, string key, CancellationToken cancellationToken)
    {
        if (await store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, cancellationToken))
            return RunEnd.Revoked;
        if (await store.HeadAsync(key, cancellationToken) is { } info)
            return info.Size > 0 ? RunEnd.Committed : RunEnd.Revoked;
        throw new StoreException($"Object '{key}' exists in '{store.Description}' but can't be seen there.", isTransient: true);
    }
}
