// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>What several contexts say of a range: one word of flags each, in the order the contexts were asked for.</summary>
public readonly record struct NbdStatus(ByteRange Range, IReadOnlyList<uint> Flags);

/// <summary>
/// An export as a disk to read, over a few connections. Reads of any offset and length are split and aligned as the server needs.
/// Calls may overlap. Exceptions are those of <see cref="NbdConnection"/>.
/// </summary>
public sealed class NbdBlockSource : IBlockSource
{
    private readonly ConnectionPool _pool;

    private NbdBlockSource(ConnectionPool pool) => _pool = pool;

    public NbdExport Export => _pool.Export;

    public long Size => _pool.Export.Size;

    /// <summary>Connections in use: what was asked for, or one where the server offers no more.</summary>
    public int ConnectionCount => _pool.ConnectionCount;

    /// <summary>Opens the URI's export; its bitmaps are named in <see cref="NbdClientOptions.Contexts"/>.</summary>
    public static async Task<NbdBlockSource> OpenAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken) =>
        new(await ConnectionPool.OpenAsync(uri, options, cancellationToken));

    public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
        _pool.ReadAsync(offset, buffer, cancellationToken);

    /// <summary>
    /// By base:allocation, or all data where the server does not offer it. Only what it calls zero is zero: a hole alone may still
    /// read as anything.
    /// </summary>
    public async IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        _pool.CheckedRange(range.Offset, range.Length);
        if (range.IsEmpty)
            yield break;
        if (!Export.HasContext(NbdMetaContext.BaseAllocation))
        {
            yield return new Extent(range, ExtentKind.Data);
            yield break;
        }

        // Different flags can be the same kind, so neighbours may still join.
        Extent? last = null;
        await foreach (var (part, flags) in StatusWalk.ExtentsAsync(_pool, NbdMetaContext.BaseAllocation, range, cancellationToken))
        {
            var kind = (flags & NbdMetaContext.StateZero) != 0 ? ExtentKind.Zero : ExtentKind.Data;
            if (last is { } open && open.Kind == kind)
            {
                last = new Extent(ByteRange.FromBounds(open.Range.Offset, part.End), kind);
                continue;
            }

            if (last is { } finished)
                yield return finished;
            last = new Extent(part, kind);
        }

        if (last is { } end)
            yield return end;
    }

    /// <summary>The ranges in which bit 0 of a context is set, in order, not touching: what is dirty in 'qemu:dirty-bitmap:NAME'.</summary>
    /// <exception cref="NbdRequestException">The context was not negotiated.</exception>
    public async IAsyncEnumerable<ByteRange> DirtyRangesAsync(
        string contextName, ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        _pool.CheckedRange(range.Offset, range.Length);
        RequireContexts([contextName]);
        ByteRange? last = null;
        await foreach (var (part, flags) in StatusWalk.ExtentsAsync(_pool, contextName, range, cancellationToken))
        {
            if ((flags & NbdMetaContext.StateDirty) == 0)
                continue;
            if (last is { } open && open.End == part.Offset)
            {
                last = ByteRange.FromBounds(open.Offset, part.End);
                continue;
            }

            if (last is { } finished)
                yield return finished;
            last = part;
        }

        if (last is { } end)
            yield return end;
    }

    /// <summary>
    /// What is dirty, and whether it is data or zero. Allocation is asked for only in and near dirty ranges, so this costs what the
    /// changes cost, not what the disk holds.
    /// </summary>
    /// <exception cref="NbdRequestException">The context was not negotiated.</exception>
    public IAsyncEnumerable<Extent> DirtyExtentsAsync(string contextName, ByteRange range, CancellationToken cancellationToken) =>
        DirtyWalk.ExtentsAsync(this, contextName, range, cancellationToken);

    /// <summary>What several contexts say, in one pass: extents in order, without gap, split where any of the contexts changes.</summary>
    /// <exception cref="NbdRequestException">A context was not negotiated.</exception>
    public async IAsyncEnumerable<NbdStatus> StatusAsync(
        IReadOnlyList<string> contextNames, ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(contextNames);
        ArgumentOutOfRangeException.ThrowIfZero(contextNames.Count);
        _pool.CheckedRange(range.Offset, range.Length);
        RequireContexts(contextNames);
        await foreach (var slice in StatusWalk.SlicesAsync(_pool, contextNames, range, cancellationToken))
        {
            var known = slice.Range.Intersect(range);
            var at = new int[contextNames.Count];
            for (var offset = known.Offset; offset < known.End;)
            {
                var end = known.End;
                var flags = new uint[at.Length];
                for (var i = 0; i < at.Length; i++)
                {
                    var extents = slice.Contexts[i].Extents;
                    while (extents[at[i]].Range.End <= offset)
                        at[i]++;
                    flags[i] = extents[at[i]].Flags;
                    end = Math.Min(end, extents[at[i]].Range.End);
                }

                yield return new NbdStatus(ByteRange.FromBounds(offset, end), flags);
                offset = end;
            }
        }
    }

    public ValueTask DisposeAsync() => _pool.DisposeAsync();

    private void RequireContexts(IReadOnlyList<string> names)
    {
        foreach (var name in names)
        {
            if (!Export.HasContext(name))
                throw new NbdRequestException(NbdError.NotSupported, $"Export '{Export.Name}' does not offer meta context '{name}'.");
        }
    }
}
