// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What limits this program, or this host, in a repository; nulls limit nothing.</summary>
/// <param name="UnknownWriteFeature">Needed for backups here, and not known to this program.</param>
/// <param name="UnknownCollectFeature">Needed to give back space here, and not known to this program.</param>
/// <param name="SingleWriter">The only writer; 16 hex digits.</param>
public sealed record RepositoryLimits(string? UnknownWriteFeature, string? UnknownCollectFeature, string? SingleWriter);

public sealed partial class Repository
{
    public RepositoryLimits Limits => new(_writeFeature, _collectFeature, _singleWriter);

    /// <summary>The store's clock now; null where it can't be asked.</summary>
    public ValueTask<DateTimeOffset?> ReadStoreClockAsync(CancellationToken cancellationToken) =>
        _context.Store.Uncached.ReadClockAsync(cancellationToken);

    /// <summary>
    /// Tries to write without leaving or changing anything: it asks the store to create an object that exists, with the bytes it has
    /// already. A point that may be deleted soon must not be given: it would be made anew.
    /// </summary>
    /// <exception cref="StoreException">This host may not, or cannot, write restore points.</exception>
    public async Task TryRewriteAsync(RestorePoint point, CancellationToken cancellationToken)
    {
        const int LargestPoint = 64 << 20;
        var store = _context.Store.Uncached;
        var key = ObjectNames.Point(point.MachineId, point.Id);
        if (await store.TryReadAllAsync(key, LargestPoint, cancellationToken) is { } content)
            await store.PutIfAbsentAsync(key, content, cancellationToken);
    }

    /// <summary>Begins an object and gives it up, for a repository without restore points.</summary>
    /// <exception cref="StoreException">This host cannot write here. A bucket takes notice of nothing before the end, so there it says
    /// nothing.</exception>
    public async Task TryUploadAsync(CancellationToken cancellationToken)
    {
        await using var upload = await _context.Store.Uncached.StartUploadAsync(cancellationToken);
        await upload.WriteAsync("?"u8.ToArray(), cancellationToken);
    }
}
