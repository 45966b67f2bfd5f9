// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>
/// Appends sealed blobs to packs in order of arrival, closes a pack at its target size and makes it durable in the background.
/// Memory: <see cref="BlocksInFlight"/> blocks of 1 MiB, and the contents of at most <see cref="PacksInFlight"/> packs. Any thread may
/// append.
/// </summary>
internal sealed class PackWriter(
    RepositoryContext context, RunId run, bool isData, RunCounters counters, Func<OpenPack, Task> closed, Action<Exception> fail,
    CancellationToken stop)
    : IAsyncDisposable
{
    private const int BlockSize = 1 << 20;
    private const int BlocksInFlight = 8;
    private const int PacksInFlight = 3;
    private readonly SemaphoreSlim _gate = new(1);
    private readonly SemaphoreSlim _blocks = new(BlocksInFlight);
    private readonly SemaphoreSlim _packs = new(PacksInFlight);
    private readonly List<Task> _publishing = [];
    private OpenPack? _current;
    private IMemoryOwner<byte>? _block;
    private int _filled;

    /// <summary>A pack is closed at this many bytes.</summary>
    public long Target { get; set; } = StorageLimits.PackTarget;

    /// <summary>Bytes of all packs closed or begun, contents and footers included once closed.</summary>
    public long TotalLength { get; private set; }

    /// <summary>Appends one sealed blob and places <paramref name="blob"/> there.</summary>
    public async ValueTask AppendAsync(
        StoredBlob blob, BlobId id, int plainLength, BlobKind kind, BlobCompression compression, ReadOnlyMemory<byte> sealedBytes)
    {
        await _gate.EnterAsync(stop);
        try
        {
            _current ??= await StartAsync();
            await AppendLockedAsync(blob, id, plainLength, kind, compression, sealedBytes);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Like the other, for bytes that depend on the pack they go to.</summary>
    public async ValueTask AppendAsync(
        StoredBlob blob, BlobId id, BlobKind kind,
        Func<OpenPack, (ReadOnlyMemory<byte> Sealed, int PlainLength, BlobCompression Compression)> seal)
    {
        await _gate.EnterAsync(stop);
        try
        {
            _current ??= await StartAsync();
            var (bytes, plainLength, compression) = seal(_current);
            await AppendLockedAsync(blob, id, plainLength, kind, compression, bytes);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Closes the pack being written and returns when every pack is durable and was reported.</summary>
    public async Task FinishAsync()
    {
        await _gate.EnterAsync(stop);
        try
        {
            await CloseAsync();
        }
        finally
        {
            _gate.Release();
        }

        await Task.WhenAll(_publishing);
    }

    public async ValueTask DisposeAsync()
    {
        if (_current is { } current)
        {
            await current.Written.Quietly();
            await current.DisposeAsync();
        }

        foreach (var task in _publishing)
            await task.Quietly(); // the run has failed already and says why
        _block?.Dispose();
        _block = null;
        _gate.Dispose();
        _blocks.Dispose();
        _packs.Dispose();
    }

    private async ValueTask AppendLockedAsync(
        StoredBlob blob, BlobId id, int plainLength, BlobKind kind, BlobCompression compression, ReadOnlyMemory<byte> bytes)
    {
        var offset = (uint)_current!.Length;
        _current.Entries.Add(new PackEntry(id, offset, (uint)bytes.Length, (uint)plainLength, kind, compression));
        blob.Place(_current, offset, (uint)bytes.Length);
        await AddAsync(bytes);
        if (_current.Length >= Target || _current.Entries.Count >= StorageLimits.PackMaxBlobs)
            await CloseAsync();
    }

    private async ValueTask<OpenPack> StartAsync()
    {
        await _packs.EnterAsync(stop);
        try
        {
            return new OpenPack(await context.Store.StartUploadAsync(stop), context.Scheduler, counters, fail);
        }
        catch
        {
            _packs.Release();
            throw;
        }
    }

    private async ValueTask AddAsync(ReadOnlyMemory<byte> bytes)
    {
        _current!.Length += bytes.Length;
        TotalLength += bytes.Length;
        while (!bytes.IsEmpty)
        {
            if (_block is null)
            {
                await _blocks.EnterAsync(stop);
                _block = AlignedPool.Rent(BlockSize);
                _filled = 0;
            }

            var part = bytes[..Math.Min(bytes.Length, BlockSize - _filled)];
            part.CopyTo(_block.Memory[_filled..]);
            _filled += part.Length;
            bytes = bytes[part.Length..];
            if (_filled == BlockSize)
                HandOver();
        }
    }

    private void HandOver()
    {
        if (_block is not { } block)
            return;
        _block = null;
        _current!.Write(block, _filled, GiveBack, stop);
    }

    private void GiveBack(IMemoryOwner<byte> block)
    {
        block.Dispose();
        _blocks.Release();
    }

    private async ValueTask CloseAsync()
    {
        if (_current is not { } pack)
            return;
        await AddAsync(SealContents(pack));
        HandOver();
        _current = null;
        _publishing.RemoveAll(task => task.IsCompletedSuccessfully);
        _publishing.Add(context.Scheduler.Start(() => PublishAsync(pack)));
    }

    private byte[] SealContents(OpenPack pack)
    {
        var plain = PackContents.Write(pack.Entries);
        var id = context.Keys.NodeId(plain);
        var bytes = new byte[BlobSealer.Overhead + plain.Length + PackContents.FooterSize];
        var blob = bytes.AsSpan(0, BlobSealer.Overhead + plain.Length);
        BlobSealer.Close(context.Keys, BlobKind.Contents, in id, BlobCompression.None, plain.Length, plain, blob);
        PackContents.WriteFooter(bytes.AsSpan(blob.Length), (uint)pack.Length, (uint)blob.Length, in id);
        return bytes;
    }

    private async Task PublishAsync(OpenPack pack)
    {
        try
        {
            await using (pack)
                await pack.PublishAsync(context.Writer, run, isData, context.Store, stop);
            await closed(pack);
        }
        catch (Exception failure)
        {
            fail(failure);
            throw;
        }
        finally
        {
            _packs.Release();
        }
    }
}
