// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// A store whose metadata is kept on this host, for stores where a request takes long: whole segments and points, and node packs in
/// blocks of <see cref="BlockSize"/>, so that neighbouring nodes come with one request. Objects never change (I1), so what was read once
/// is right for ever; what exists is always asked of the store. Bytes are given out as the store gave them: who reads them proves them
/// (I7), and asks <see cref="Uncached"/> when they do not hold. Memory: <see cref="BlocksInMemory"/> blocks. Outermost of the layers;
/// owns the inner store.
/// </summary>
public sealed class CacheStore(IObjectStore inner, CacheFolder folder) : IObjectStore
{
    private const int BlockSize = 256 << 10;
    private const int BlocksInMemory = 32;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Task<byte[]>> _blocks = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();

    public string Description => inner.Description;

    public int ReadsAtOnce => inner.ReadsAtOnce;

    public IObjectStore Uncached => inner;

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken) =>
        inner.PutIfAbsentAsync(key, content, cancellationToken);

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) => inner.StartUploadAsync(cancellationToken);

    public ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (PackName.TryParse(key) is { IsData: false })
            return ReadBlocksAsync(key, offset, buffer, cancellationToken);
        var isWhole = key.StartsWith(ObjectNames.Index, StringComparison.Ordinal)
            || key.StartsWith(ObjectNames.Points, StringComparison.Ordinal);
        return isWhole && offset == 0 && buffer.Length > 0
            ? ReadWholeAsync(key, buffer, cancellationToken)
            : inner.ReadAsync(key, offset, buffer, cancellationToken);
    }

    public ValueTask<DateTimeOffset?> ReadClockAsync(CancellationToken cancellationToken) => inner.ReadClockAsync(cancellationToken);

    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => inner.ConfirmAsync(key, cancellationToken);

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken) => inner.HeadAsync(key, cancellationToken);

    public IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, CancellationToken cancellationToken) =>
        inner.ListAsync(prefix, cancellationToken);

    public ValueTask DeleteAsync(string key, CancellationToken cancellationToken) => inner.DeleteAsync(key, cancellationToken);

    public int DeleteBatch => inner.DeleteBatch;

    public ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken) =>
        inner.DeleteAsync(keys, cancellationToken);

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => inner.ProbeAsync(cancellationToken);

    public ValueTask DisposeAsync()
    {
        folder.Trim();
        return inner.DisposeAsync();
    }

    // Callers ask for the size that was listed: an entry of another size is not what they want.
    private async ValueTask<int> ReadWholeAsync(string key, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (folder.TryRead(key) is { } kept && kept.Length == buffer.Length)
        {
            kept.CopyTo(buffer);
            return kept.Length;
        }

        var read = await inner.ReadAsync(key, 0, buffer, cancellationToken);
        if (read == buffer.Length)
            folder.Keep(key, buffer.Span);
        return read;
    }

    private async ValueTask<int> ReadBlocksAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var total = 0;
        while (total < buffer.Length)
        {
            var (number, from) = Math.DivRem(offset + total, BlockSize);
            var block = await BlockAsync(key, number).WaitAsync(cancellationToken);
            var count = (int)Math.Min(buffer.Length - total, Math.Max(0, block.Length - from));
            block.AsSpan((int)Math.Min(from, block.Length), count).CopyTo(buffer.Span[total..]);
            total += count;
            if (block.Length < BlockSize)
                break;
        }

        return total;
    }

    // Callers of the same block share one request, which outlives a caller that gives up.
    private Task<byte[]> BlockAsync(string key, long number)
    {
        var name = $"{key}#{number}";
        lock (_gate)
        {
            if (_blocks.TryGetValue(name, out var known) && known is not { IsFaulted: true } and not { IsCanceled: true })
                return known;
            if (known is null)
                _order.Enqueue(name);
            while (_order.Count > BlocksInMemory)
                _blocks.Remove(_order.Dequeue());
            return _blocks[name] = Task.Run(() => LoadAsync(name, key, number), CancellationToken.None);
        }
    }

    private async Task<byte[]> LoadAsync(string name, string key, long number)
    {
        if (folder.TryRead(name) is { Length: <= BlockSize } kept)
            return kept;
        var block = new byte[BlockSize];
        var read = await inner.ReadAsync(key, number * BlockSize, block, CancellationToken.None);
        Array.Resize(ref block, read);
        folder.Keep(name, block);
        return block;
    }
}
