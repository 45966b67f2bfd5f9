// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;

namespace Tidemark.Engine.Restore.Targets;

/// <summary>
/// Where one disk is restored to. Life: <see cref="OpenAsync"/>, writes, <see cref="ReadBackAsync"/> for the proof, then
/// <see cref="KeepAsync"/>; disposing it before that leaves nothing of ours behind. One caller at a time.
/// </summary>
internal abstract class RestoreTarget : IAsyncDisposable
{
    /// <summary>The target in a user's words: a path or URI.</summary>
    public abstract string Display { get; }

    /// <summary>It exists and is overwritten: what fails leaves it half-written.</summary>
    public virtual bool IsInPlace => false;

    /// <summary>It is known to read as zero before anything is written.</summary>
    public abstract bool StartsZero { get; }

    /// <summary>Refuses what cannot work, before anything is written anywhere.</summary>
    /// <param name="size">Size of the disk, bytes.</param>
    /// <param name="force">Something that is there may be overwritten.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <exception cref="EngineException">The target cannot be used; the message says why.</exception>
    public abstract Task CheckAsync(long size, bool force, CancellationToken cancellationToken);

    /// <summary>Makes the target ready to be written.</summary>
    public abstract Task<IBlockTarget> OpenAsync(long size, CancellationToken cancellationToken);

    /// <summary>Closes what <see cref="OpenAsync"/> opened, flushed, and opens it again through its format, to read.</summary>
    public abstract Task<IBlockSource> ReadBackAsync(CancellationToken cancellationToken);

    /// <summary>Closes everything and puts the finished target in its place.</summary>
    public abstract Task KeepAsync(CancellationToken cancellationToken);

    public abstract ValueTask DisposeAsync();
}
