// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Runtime.ExceptionServices;

namespace Tidemark.Storage;

/// <summary>
/// One backup of one machine, from its run object to its restore point (docs/format.md section 9). Begun by
/// <see cref="Repository.BeginRunAsync"/>; disks may be written at once; the first failure ends the run, and every later call throws it.
/// Disposing it without a commit puts its tombstone.
/// <code>
/// begun --CommitAsync--> committing --> committed
///   |                        '--> revoked (RunRevokedException) or unknown (CommitUnknownException: fence it later)
///   '--FailAsync, DisposeAsync--> failed (tombstone)
/// </code>
/// </summary>
public sealed partial class BackupRun : IAsyncDisposable
{
    private readonly RepositoryContext _context;
    private readonly BackupRunOptions _options;
    private readonly RunStart _start;
    private readonly RepositoryIndex _index;
    private readonly BlobReader _blobs;
    private readonly OtherRuns _others;
    private readonly KnownBlobs _known;
    private readonly PackWriter _chunkPacks;
    private readonly PackWriter _nodePacks;
    private readonly SegmentWriter _segments;
    private readonly ChunkPipeline _pipeline;
    private readonly Heartbeat _heartbeat;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<DiskWriter> _disks = [];
    private readonly List<PackName> _adopted = [];
    private readonly Lazy<Task<LostBlobs>> _lost;
    private Exception? _failure;
    private bool _ended;
    private bool _closed;
    private long _adoptedLength;

    internal BackupRun(RepositoryContext context, BackupRunOptions options, RunStart start)
    {
        (_context, _options, _start) = (context, options, start);
        _index = new RepositoryIndex(context, start.Listing, start.Machine);
        _blobs = new BlobReader(context);
        Trees = new TreeReader(_blobs);
        _others = new OtherRuns(context, start, _index, options.LookAfter, _stop.Token);
        _known = new KnownBlobs(context, _index, _blobs, _others, NameAsync);
        _segments = new SegmentWriter(context, start.Id);
        _nodePacks = new PackWriter(context, start.Id, isData: false, Counters, NodesClosedAsync, Fail, _stop.Token);
        Nodes = new NodeWriter(context, _known, _nodePacks, Counters);
        _chunkPacks = new PackWriter(context, start.Id, isData: true, Counters, ChunksClosedAsync, Fail, _stop.Token)
        {
            Target = options.PackTarget,
        };
        _pipeline = new ChunkPipeline(context, _known, _chunkPacks, options, Counters, Fail, _stop.Token);
        _heartbeat = new Heartbeat(context, start.Key);
        _lost = new Lazy<Task<LostBlobs>>(() => LostBlobs.ReadAsync(_context, _start.Listing, _index, _stop.Token));
    }

    /// <summary>The run's identity, and its point's.</summary>
    public RunId Id => _start.Id;

    public MachineId MachineId => _start.Machine;

    /// <summary>The place its point will have among the machine's points.</summary>
    public long Seq => _start.Seq;

    /// <summary>Time per stage so far.</summary>
    public RunCounters Counters { get; } = new();

    internal TreeReader Trees { get; }

    internal WriterId Writer => _context.Writer;

    internal NodeWriter Nodes { get; }

    internal RepositoryKeys Keys => _context.Keys;

    internal TaskScheduler Scheduler => _context.Scheduler;

    internal CancellationToken Stopping => _stop.Token;

    /// <summary>Packs of other runs, named by no segment before, that this one uses.</summary>
    internal IReadOnlyCollection<PackName> Adopted => _adopted;

    internal OtherRuns Others => _others;

    internal bool HasFailed => Volatile.Read(ref _failure) is not null;

    /// <summary>Begins a disk; what is not written is inherited from <paramref name="origin"/>, or zero without one.</summary>
    /// <param name="name">The disk.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="chunkLog2">Log2 of the chunk size.</param>
    /// <param name="origin">The base.</param>
    /// <param name="differs">Told of audited chunks [from, to) that are not what the base has, one call at a time.</param>
    /// <exception cref="ArgumentException">The size or chunk size is outside the format, or the base has another chunk size.</exception>
    public DiskWriter OpenDisk(string name, long size, int chunkLog2, TreeRef? origin, Action<long, long>? differs = null)
    {
        ThrowIfFailed();
        if (size is < 0 or > StorageLimits.MaxDiskSize || !StorageLimits.IsChunkLog2(chunkLog2))
            throw new ArgumentException($"A disk of {size} bytes with chunks of 2^{chunkLog2} bytes is outside the format.", nameof(size));
        if (origin is not null && origin.ChunkLog2 != chunkLog2)
            throw new ArgumentException($"Disk '{name}' has chunks of 2^{chunkLog2} bytes, its base 2^{origin.ChunkLog2}.", nameof(origin));
        if (origin is not null && !_start.Pinned.Contains(origin.Root) && !origin.Root.IsZero)
            throw new ArgumentException($"The base of disk '{name}' belongs to no point this run began with.", nameof(origin));
        var disk = new DiskWriter(this, name, new TreeShape(size, chunkLog2), origin, differs);
        lock (_disks)
            _disks.Add(disk);
        return disk;
    }

    /// <summary>Keeps a file of a few bytes with the point; see the other.</summary>
    public async Task<FileResult> StoreFileAsync(string name, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        using var stream = new MemoryStream(content.ToArray(), writable: false);
        return await StoreFileAsync(name, stream, cancellationToken);
    }

    /// <summary>
    /// Keeps a file with the point: NVRAM, TPM state, kernel, initrd. One that a base has unchanged is inherited; that is found out by
    /// reading it first, hence the stream can seek and its content does not change meanwhile.
    /// </summary>
    public async Task<FileResult> StoreFileAsync(string name, Stream content, CancellationToken cancellationToken)
    {
        var shape = new TreeShape(content.Length, StorageLimits.FileChunkLog2);
        var root = await StreamTree.RootAsync(_context.Keys, shape, content, cancellationToken);
        var same = _options.Bases.SelectMany(point => point.Files).Select(file => file.Tree)
            .FirstOrDefault(tree => tree.Root == root && tree.Shape == shape);
        if (same is not null && (await FindHurtAsync(same)).IsEmpty)
            return new FileResult(name, null, same);
        var disk = OpenDisk(name, shape.Size, shape.ChunkLog2, null);
        content.Position = 0;
        for (long chunk = 0; chunk < shape.ChunkCount; chunk++)
        {
            var buffer = MemoryPool<byte>.Shared.Rent(shape.ChunkSize);
            try
            {
                await content.ReadExactlyAsync(buffer.Memory[..shape.LengthOf(chunk)], cancellationToken);
            }
            catch
            {
                buffer.Dispose();
                throw;
            }

            await disk.WriteAsync(chunk, buffer, cancellationToken);
        }

        return new FileResult(name, await disk.FinishAsync(cancellationToken), null);
    }

    /// <summary>Ends the run without a point: nothing it wrote will be used, and a late commit would lose.</summary>
    /// <exception cref="StoreException">The tombstone could not be put; the run is over all the same, whoever follows fences
    /// it.</exception>
    public async Task FailAsync(CancellationToken cancellationToken)
    {
        if (_ended)
            return;
        _ended = true;
        Fail(new RunRevokedException($"Run '{Id}' was given up."));
        await CloseAsync();
        await RunFence.FenceAsync(_context.Store, MachineId, Id, cancellationToken);
    }

    /// <summary>Like <see cref="FailAsync"/> if nothing was committed; a store that refuses the tombstone is left to the next run's
    /// fence.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await FailAsync(CancellationToken.None);
        }
        catch (StoreException)
        {
            return;
        }
        finally
        {
            await CloseAsync();
        }
    }

    internal ValueTask AddAsync(ChunkJob job, CancellationToken cancellationToken) => _pipeline.AddAsync(job, cancellationToken);

    /// <summary>Others are under way, and may want what this run is about to store.</summary>
    internal void ShareSoon() => _chunkPacks.Target = Math.Min(_options.PackTarget, StorageLimits.SharedPackTarget);

    /// <summary>Reads a chunk of a stored tree; false for a hole, with the buffer left as it is.</summary>
    internal async ValueTask<bool> ReadChunkAsync(TreeRef tree, long chunk, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var slot = (int)(chunk % TreeShape.FanOut);
        var (leaf, _) = await Trees.LeafAsync(tree, chunk, cancellationToken);
        if (leaf is null || !leaf.Has(slot))
            return false;
        await _blobs.ReadChunkAsync(leaf.Id(slot), leaf.Location(slot), buffer, cancellationToken);
        return true;
    }

    /// <summary>What of a base's tree is lost and must be stored again.</summary>
    internal Task<HurtTree> FindHurtAsync(TreeRef? origin) =>
        origin is null || _start.Listing.Quarantined.Count == 0
            ? Task.FromResult(HurtTree.None)
            : Scheduler.Start(async () =>
            {
                var lost = await _lost.Value;
                return lost.IsEmpty ? HurtTree.None : await HurtTree.FindAsync(origin, lost, _blobs, Nodes, _stop.Token);
            });

    /// <summary>Keeps the first failure and stops everything that runs.</summary>
    internal void Fail(Exception failure)
    {
        if (Interlocked.CompareExchange(ref _failure, failure, null) is null)
            _stop.Cancel();
    }

    internal void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is { } failure)
            ExceptionDispatchInfo.Throw(failure);
    }

    /// <summary>Waits for a step of the pipeline; if the run failed meanwhile, throws why.</summary>
    internal async ValueTask GuardAsync(ValueTask step)
    {
        try
        {
            await step;
        }
        catch (Exception)
        {
            ThrowIfFailed();
            throw;
        }
    }

    /// <inheritdoc cref="GuardAsync(ValueTask)"/>
    internal async ValueTask<T> GuardAsync<T>(Task<T> step)
    {
        try
        {
            return await step;
        }
        catch (Exception)
        {
            ThrowIfFailed();
            throw;
        }
    }

    private async Task ChunksClosedAsync(OpenPack pack)
    {
        _known.Closed(pack);
        await _segments.AddAsync(pack, _stop.Token);
        await Nodes.StoreReadyAsync(_stop.Token);
    }

    // Whoever wrote it may never commit: then only this run's point has a segment that tells of it (I3).
    private async Task NameAsync(IndexedPack pack, CancellationToken cancellationToken)
    {
        var contents = await PackReading.TryReadAsync(_context, new ListedPack(pack.Name, pack.Size), BlobKind.Chunk, cancellationToken)
            ?? throw new RepositoryDamagedException(pack.Name.Key, "the contents this run found in it before", "something else");
        await _context.Store.ConfirmAsync(pack.Name.Key, cancellationToken);
        await _segments.AddAsync(contents.Pack, contents.Entries, cancellationToken);
        lock (_disks)
            _adopted.Add(pack.Name);
    }

    private async Task NodesClosedAsync(OpenPack pack)
    {
        _known.Closed(pack);
        await _segments.AddAsync(pack, _stop.Token);
    }

    private async Task CloseAsync()
    {
        if (_closed)
            return;
        _closed = true;
        _stop.Stop();
        await _pipeline.DisposeAsync();
        foreach (var disk in _disks)
            await disk.AbandonAsync();
        await _chunkPacks.DisposeAsync();
        await _nodePacks.DisposeAsync();
        await _heartbeat.DisposeAsync();
        await _others.DisposeAsync();
        Nodes.Dispose();
        _segments.Dispose();
        _index.Dispose();
        _blobs.Dispose();
        _stop.Dispose();
    }
}
