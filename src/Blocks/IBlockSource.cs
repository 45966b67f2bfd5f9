// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Blocks;

/// <summary>
/// A disk that does not change while it is read: an export of a frozen point, a file, a disk of a restore point.
/// Calls may overlap; the source pipelines them as deep as it can. Whoever opened it disposes it.
/// </summary>
public interface IBlockSource : IAsyncDisposable
{
    /// <summary>Size in bytes; any number, not only multiples of a sector.</summary>
    long Size { get; }

    /// <summary>Fills the whole buffer from <paramref name="offset"/>; the range must lie within the disk.</summary>
    ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>
    /// What is known of <paramref name="range"/>: extents in order, without gap or overlap, together exactly the range.
    /// <see cref="ExtentKind.Zero"/> is a promise, <see cref="ExtentKind.Data"/> is not.
    /// </summary>
    IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, CancellationToken cancellationToken);
}

/// <summary>A disk being written: a file, a block device, an NBD export. Calls may overlap where their ranges do not.</summary>
public interface IBlockTarget : IAsyncDisposable
{
    /// <summary>Size in bytes.</summary>
    long Size { get; }

    /// <summary>Writes the whole buffer at <paramref name="offset"/>; durable only after <see cref="FlushAsync"/>.</summary>
    ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Makes the range read as zero bytes, as a hole where the target can.</summary>
    ValueTask ZeroAsync(ByteRange range, CancellationToken cancellationToken);

    /// <summary>Returns when everything written before the call is on stable storage.</summary>
    ValueTask FlushAsync(CancellationToken cancellationToken);
}
