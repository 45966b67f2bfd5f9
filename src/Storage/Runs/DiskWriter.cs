// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Threading.Channels;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>
/// Writes one disk in a run: chunks and zero ranges in increasing order, or as <see cref="OrderAsync"/> says; everything else is inherited
/// from the base (without one: zero).
/// One caller at a time; several disks of a run may be written at once.
/// </summary>
public sealed class DiskWriter
{
    private const int QueuedSteps = 1024; // finished chunks that wait for the tree: ids only
    private readonly BackupRun _run;
    private readonly string _name;
    private readonly TreeShape _shape;
    private readonly TreeRef? _origin;
    private readonly Action<long, long>? _differs;
    private readonly ChangeSample _sample;
    private readonly Channel<Step> _steps = Channel.CreateBounded<Step>(QueuedSteps);
    private readonly Task<HurtTree> _hurt;
    private readonly Task<BuiltTree> _building;
    private readonly List<(long From, long To)> _written = []; // in order, touching ones merged
    private LeafSpan _originLeaf;
    private long _originLeafStart = -1;
    private long _position;
    private bool _isScattered;
    private long _covered;
    private long _changed;
    private long _stored;
    private long _dedup;
    private long _inheritedChunks;
    private long _zeroChunks;
    private long _knownChunks;
    private long _storedChunks;
    private long _healedChunks;

    internal DiskWriter(BackupRun run, string name, TreeShape shape, TreeRef? origin, Action<long, long>? differs)
    {
        (_run, _name, _shape, _origin, _differs) = (run, name, shape, origin, differs);
        _sample = new ChangeSample(run.Id);
        _hurt = run.FindHurtAsync(origin);
        _building = run.Scheduler.Start(BuildAsync);
    }

    /// <summary>Bytes of a chunk, and the least length of the buffers given to <see cref="WriteAsync"/>.</summary>
    public int ChunkSize => _shape.ChunkSize;

    /// <summary>Bytes of the disk.</summary>
    public long Size => _shape.Size;

    /// <summary>Chunks of the disk; the last one may be partly beyond its end.</summary>
    public long ChunkCount => _shape.ChunkCount;

    /// <summary>
    /// The disk in ranges of bytes, in the order in which a whole read of it does best; asked before the first write, and then to be
    /// kept. It is one range, unless the disk has no base and other runs are under way: then each begins elsewhere, so that equal disks
    /// meet what others have stored already (docs/format.md section 10c). Then every chunk must be written or made zero, once.
    /// </summary>
    public async ValueTask<IReadOnlyList<ByteRange>> OrderAsync(CancellationToken cancellationToken)
    {
        _isScattered = _origin is null && ScatteredOrder.Suits(_shape) && await _run.Others.AnyAsync().OrCancelled(cancellationToken);
        if (!_isScattered)
            return [new ByteRange(0, Size)];
        _run.ShareSoon();
        return ScatteredOrder.Of(_shape, _run.Id);
    }

    /// <summary>
    /// Writes a chunk whose content is the first bytes of <paramref name="buffer"/> (the disk's bytes in that chunk; what lies beyond is
    /// cleared). Takes the buffer over, whatever happens. Waits while the pipeline is full.
    /// </summary>
    /// <exception cref="ArgumentException">The chunk is not after the last one, or outside the disk, or the buffer is too
    /// small.</exception>
    public ValueTask WriteAsync(long chunk, IMemoryOwner<byte> buffer, CancellationToken cancellationToken) =>
        PutAsync(chunk, buffer, isAudit: false, cancellationToken);

    /// <summary>
    /// Writes a chunk that is said to be what the base has, and reports when it is not. Either way the disk ends up with this content.
    /// </summary>
    /// <inheritdoc cref="WriteAsync(long, IMemoryOwner{byte}, CancellationToken)"/>
    public ValueTask AuditAsync(long chunk, IMemoryOwner<byte> buffer, CancellationToken cancellationToken) =>
        PutAsync(chunk, buffer, isAudit: true, cancellationToken);

    private async ValueTask PutAsync(long chunk, IMemoryOwner<byte> buffer, bool isAudit, CancellationToken cancellationToken)
    {
        var owned = buffer;
        try
        {
            _run.ThrowIfFailed();
            CheckOrder(chunk, chunk + 1);
            ArgumentOutOfRangeException.ThrowIfLessThan(buffer.Memory.Length, ChunkSize, nameof(buffer));
            Advance(chunk, chunk + 1);
            var hurt = await _hurt.OrCancelled(cancellationToken);
            var inherited = hurt.IsUnreadable(chunk) ? default : await OriginIdAsync(chunk, cancellationToken);
            var job = new ChunkJob(buffer, _shape.LengthOf(chunk), ChunkSize, inherited, !inherited.IsZero, hurt.IsHurt(chunk))
            {
                IsAudit = isAudit,
            };
            await _run.GuardAsync(_steps.Writer.WriteAsync(new Step(chunk, chunk + 1, job), cancellationToken));
            owned = null;
            await _run.GuardAsync(_run.AddAsync(job, cancellationToken));
        }
        finally
        {
            owned?.Dispose();
        }
    }

    /// <summary>Puts a chunk that the repository has, by its id and place.</summary>
    internal async ValueTask ReferAsync(long chunk, BlobId id, BlobLocation location, CancellationToken cancellationToken)
    {
        _run.ThrowIfFailed();
        CheckOrder(chunk, chunk + 1);
        Advance(chunk, chunk + 1);
        var job = ChunkJob.Known(id, location);
        await _run.GuardAsync(_steps.Writer.WriteAsync(new Step(chunk, chunk + 1, job), cancellationToken));
    }

    /// <summary>Makes chunks [from, to) zero; costs nothing where the base has zero too.</summary>
    /// <exception cref="ArgumentException">The range is not after what was written, or outside the disk.</exception>
    public ValueTask ZeroAsync(long from, long to, CancellationToken cancellationToken) =>
        ClearAsync(from, to, isAudit: false, cancellationToken);

    /// <summary>Makes chunks [from, to) zero, which the base is said to have there too, and reports those where it has not.</summary>
    /// <inheritdoc cref="ZeroAsync(long, long, CancellationToken)"/>
    public ValueTask AuditZeroAsync(long from, long to, CancellationToken cancellationToken) =>
        ClearAsync(from, to, isAudit: true, cancellationToken);

    private async ValueTask ClearAsync(long from, long to, bool isAudit, CancellationToken cancellationToken)
    {
        _run.ThrowIfFailed();
        CheckOrder(from, to);
        Advance(from, to);
        await _run.GuardAsync(_steps.Writer.WriteAsync(new Step(from, to, null) { IsAudit = isAudit }, cancellationToken));
    }

    /// <summary>
    /// Ranges of the disk, in bytes and in order, that must be written although they may be unchanged: the base lost them. Writing their
    /// content heals every point that needs it (docs/format.md section 9).
    /// </summary>
    public async ValueTask<IReadOnlyList<ByteRange>> FindHurtAsync(CancellationToken cancellationToken)
    {
        var hurt = await _run.GuardAsync(_hurt.OrCancelled(cancellationToken));
        return [.. hurt.Chunks.Where(range => range.From < ChunkCount).Select(range => ByteRange.FromBounds(
            range.From << _shape.ChunkLog2, Math.Min(Math.Min(range.To, ChunkCount) << _shape.ChunkLog2, Size)))];
    }

    /// <summary>
    /// The last chunk that holds data and is inherited, not written; -1 when there is none. Whoever cut the disk and grew it again
    /// unseen has cut this chunk too, or nothing that matters.
    /// </summary>
    public async ValueTask<long> LastInheritedAsync(CancellationToken cancellationToken) =>
        (await LastInheritedDataAsync(cancellationToken)).Chunk;

    /// <summary>Whether <see cref="LastInheritedAsync"/>'s chunk is what the base has there.</summary>
    /// <param name="content">A whole chunk; what lies beyond the disk's end is cleared.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async ValueTask<bool> IsLastInheritedAsync(Memory<byte> content, CancellationToken cancellationToken)
    {
        var (chunk, id) = await LastInheritedDataAsync(cancellationToken);
        content.Span[_shape.LengthOf(chunk)..].Clear();
        return _run.Keys.ChunkId(content.Span) == id;
    }

    /// <summary>Waits for this disk's chunks and builds its tree; the disk takes nothing more.</summary>
    public async Task<DiskResult> FinishAsync(CancellationToken cancellationToken)
    {
        if (_isScattered && _covered != ChunkCount)
            throw new InvalidOperationException($"Of the {ChunkCount} chunks of disk '{_name}', {_covered} were written.");
        await WriteCutTailAsync(cancellationToken);
        await CheckLostWrittenAsync(cancellationToken);
        _steps.Writer.TryComplete();
        BuiltTree tree;
        try
        {
            tree = await _building.OrCancelled(cancellationToken);
        }
        catch (Exception) when (_run.HasFailed)
        {
            _run.ThrowIfFailed();
            throw;
        }

        return new DiskResult(_name, _shape, tree)
        {
            ChangedBytes = _changed,
            StoredBytes = _stored,
            DedupBytes = _dedup,
            InheritedChunks = _inheritedChunks,
            ZeroChunks = _zeroChunks,
            KnownChunks = _knownChunks,
            StoredChunks = _storedChunks,
            HealedChunks = _healedChunks,
            SomeChanged = _sample.Chunks,
        };
    }

    /// <summary>Ends the disk without a result: for a run that failed, or one that writes the disk anew with another writer.</summary>
    public async Task AbandonAsync()
    {
        _steps.Writer.TryComplete();
        await _building.Quietly();
        await _hurt.Quietly();
    }

    private async ValueTask<(long Chunk, BlobId Id)> LastInheritedDataAsync(CancellationToken cancellationToken)
    {
        if (_origin is null)
            return (-1, default);
        var end = Math.Min(ChunkCount, _origin.Shape.ChunkCount);
        foreach (var (from, to) in Enumerable.Reverse(_written).Append((0, 0)))
        {
            if (await _run.Trees.LastDataAsync(_origin, to, end, cancellationToken) is { Chunk: >= 0 } found)
                return found;
            end = Math.Min(end, from);
        }

        return (-1, default);
    }

    // I21: what is not written below a node that can't be read would come out as zero.
    private async ValueTask CheckLostWrittenAsync(CancellationToken cancellationToken)
    {
        var hurt = await _run.GuardAsync(_hurt.OrCancelled(cancellationToken));
        foreach (var (from, to) in hurt.Unreadable.Where(range => range.From < ChunkCount))
        {
            var end = Math.Min(to, Math.Min(ChunkCount, _origin!.Shape.ChunkCount));
            if (!_written.Exists(written => written.From <= from && end <= written.To) && from < end)
                throw new RepositoryDamagedException(
                    _origin.Hint.Pack?.Key ?? ObjectNames.Index, $"a readable node above chunks {from} to {end} of disk '{_name}'", "none");
        }
    }

    private void Advance(long from, long to)
    {
        _covered += to - from;
        if (_isScattered)
            return; // the tree minds that none comes twice
        _position = to;
        if (_written.Count > 0 && _written[^1].To == from)
            _written[^1] = (_written[^1].From, to);
        else
            _written.Add((from, to));
    }

    private void CheckOrder(long from, long to)
    {
        if (from < _position || to < from || to > ChunkCount)
            throw new ArgumentOutOfRangeException(
                nameof(from),
                $"Chunks {from} to {to} of disk '{_name}' are not within {_position} to {ChunkCount}, what is still to be written.");
    }

    // The base's last bytes beyond a cut must not stay in the tree: the chunk across the new end is written again without them.
    private async ValueTask WriteCutTailAsync(CancellationToken cancellationToken)
    {
        var tail = ChunkCount - 1;
        if (_origin is null || _origin.Size <= _shape.Size || _shape.Size % ChunkSize == 0 || _position > tail)
            return;
        var buffer = MemoryPool<byte>.Shared.Rent(ChunkSize);
        try
        {
            if (!await _run.ReadChunkAsync(_origin, tail, buffer.Memory[..ChunkSize], cancellationToken))
                return;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }

        await WriteAsync(tail, buffer, cancellationToken);
    }

    private async ValueTask<BlobId> OriginIdAsync(long chunk, CancellationToken cancellationToken)
    {
        if (_origin is null || chunk >= _origin.Shape.ChunkCount)
            return default;
        if (_originLeafStart < 0 || chunk >= _originLeaf.End || chunk < _originLeafStart)
        {
            _originLeaf = await _run.Trees.LeafAsync(_origin, chunk, cancellationToken);
            _originLeafStart = chunk;
        }

        var slot = (int)(chunk % TreeShape.FanOut);
        return _originLeaf.Leaf is { } leaf && leaf.Has(slot) ? leaf.Id(slot) : default;
    }

    private async Task<BuiltTree> BuildAsync()
    {
        try
        {
            var stop = _run.Stopping;
            var hurt = await _hurt.OrCancelled(stop);
            IDiskTree? tree = null;
            while (await _steps.Reader.WaitToReadAsync(stop))
            {
                tree ??= StartTree(hurt);
                while (_steps.Reader.TryRead(out var step))
                    await ApplyAsync(tree, step, stop);
            }

            return await (tree ?? StartTree(hurt)).FinishAsync(stop);
        }
        catch (Exception failure)
        {
            _run.Fail(failure);
            throw;
        }
    }

    // The order is known once the first step is there.
    private IDiskTree StartTree(HurtTree hurt) => _isScattered
        ? new ScatteredTree(_shape, _run.Nodes, _run.Keys)
        : new TreeBuilder(_shape, _origin, _run.Trees, _run.Nodes, _run.Keys, hurt);

    private async ValueTask ApplyAsync(IDiskTree tree, Step step, CancellationToken stop)
    {
        if (step.Job is not { } job)
        {
            if (step.IsAudit)
                await ReportDataAsync(step.From, step.To, stop);
            await tree.ClearAsync(step.From, step.To, stop);
            return;
        }

        var outcome = await job.Done;
        var length = _shape.LengthOf(step.From);
        if (job.IsAudit && outcome.Id != job.Inherited) // both are zero for a chunk of zero bytes
            _differs?.Invoke(step.From, step.To);
        switch (outcome.Fate)
        {
            case ChunkFate.Zero:
                _zeroChunks++;
                _changed += job.HasOrigin ? length : 0;
                await tree.ClearAsync(step.From, step.To, stop);
                return;
            case ChunkFate.Inherited:
                _inheritedChunks++;
                return;
            case ChunkFate.Known:
                _knownChunks++;
                _dedup += length;
                break;
            default:
                _storedChunks++;
                _stored += outcome.StoredLength;
                _healedChunks += job.IsHurt ? 1 : 0;
                break;
        }

        if (outcome.Id != job.Inherited)
        {
            _changed += length;
            _sample.Add(step.From);
        }

        await tree.SetAsync(step.From, outcome.Id, outcome.Location, outcome.Blob, stop);
    }

    // What is zero now and data in the base.
    private async ValueTask ReportDataAsync(long from, long to, CancellationToken stop)
    {
        if (_origin is null)
            return;
        var end = Math.Min(to, _origin.Shape.ChunkCount);
        while (await _run.Trees.LastDataAsync(_origin, from, end, stop) is { Chunk: >= 0 } found)
        {
            _differs?.Invoke(found.Chunk, found.Chunk + 1);
            end = found.Chunk;
        }
    }

    private readonly record struct Step(long From, long To, ChunkJob? Job)
    {
        public bool IsAudit { get; init; }
    }
}
