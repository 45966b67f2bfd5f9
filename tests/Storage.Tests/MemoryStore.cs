// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

namespace Tidemark.Storage.Tests;

/// <summary>A store in memory that counts its operations, and can fail at one of them or be cut off from there on.</summary>
internal sealed class MemoryStore : IObjectStore
{
    private readonly ConcurrentDictionary<string, byte[]> _objects;
    private readonly ConcurrentDictionary<string, DateTimeOffset> _times = new(StringComparer.Ordinal);
    private int _operations;

    public MemoryStore(IEnumerable<KeyValuePair<string, byte[]>>? objects = null) =>
        _objects = new ConcurrentDictionary<string, byte[]>(objects ?? [], StringComparer.Ordinal);

    /// <summary>Called before every operation that changes the store, with its number and key.</summary>
    public Action<int, string>? BeforeWrite { get; set; }

    /// <summary>Called after such an operation took effect, before its answer.</summary>
    public Action<int, string>? AfterWrite { get; set; }

    /// <summary>Called before an object is read, with its key.</summary>
    public Action<string>? BeforeRead { get; set; }

    /// <summary>Called after a listing was given out, with its prefix.</summary>
    public Action<string>? AfterList { get; set; }

    public ConcurrentDictionary<string, byte[]> Objects => _objects;

    /// <summary>The store's clock: what is created gets this time.</summary>
    public DateTimeOffset Now { get; set; } = DateTimeOffset.UnixEpoch;

    /// <summary>Keys created, in order.</summary>
    public ConcurrentQueue<string> Created { get; } = new();

    public string Description => "memory";

    public int DeleteBatch { get; init; } = 1;

    /// <summary>Batches that were to be deleted.</summary>
    public ConcurrentQueue<IReadOnlyList<string>> Batches { get; } = new();

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        ObjectKey.Check(key);
        cancellationToken.ThrowIfCancellationRequested();
        var number = Interlocked.Increment(ref _operations);
        BeforeWrite?.Invoke(number, key);
        _times.TryAdd(key, Now); // whoever sees the object sees its time
        var created = _objects.TryAdd(key, content.ToArray());
        if (created)
            Created.Enqueue(key);
        AfterWrite?.Invoke(number, key);
        return ValueTask.FromResult(created);
    }

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) =>
        ValueTask.FromResult<IObjectUpload>(new Upload(this));

    public ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        BeforeRead?.Invoke(key);
        if (!_objects.TryGetValue(key, out var content))
            throw new ObjectMissingException(key, Description);
        var length = (int)Math.Max(0, Math.Min(buffer.Length, content.Length - offset));
        content.AsSpan((int)Math.Min(offset, content.Length), length).CopyTo(buffer.Span);
        return ValueTask.FromResult(length);
    }

    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken)
    {
        ObjectInfo? info = _objects.TryGetValue(key, out var content) ? Describe(key, content) : null;
        return ValueTask.FromResult(info);
    }

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.CompletedTask;
        foreach (var (key, content) in _objects)
        {
            if (key.StartsWith(prefix, StringComparison.Ordinal))
                yield return Describe(key, content);
        }

        AfterList?.Invoke(prefix);
    }

    public ValueTask DeleteAsync(string key, CancellationToken cancellationToken)
    {
        var number = Interlocked.Increment(ref _operations);
        BeforeWrite?.Invoke(number, key);
        _objects.TryRemove(key, out _);
        AfterWrite?.Invoke(number, key);
        return ValueTask.CompletedTask;
    }

    /// <summary>Backwards: nobody may count on the order. A failure leaves the rest.</summary>
    public async ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        Assert.InRange(keys.Count, 1, DeleteBatch);
        Batches.Enqueue(keys);
        foreach (var key in keys.Reverse())
            await DeleteAsync(key, cancellationToken);
    }

    /// <summary>The same objects with their times, in a store of its own.</summary>
    public MemoryStore Copy()
    {
        var copy = new MemoryStore(_objects) { Now = Now, DeleteBatch = DeleteBatch };
        foreach (var (key, time) in _times)
            copy._times[key] = time;
        return copy;
    }

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private ObjectInfo Describe(string key, byte[] content) =>
        new(key, content.Length, _times.GetValueOrDefault(key, DateTimeOffset.UnixEpoch));

    private sealed class Upload(MemoryStore store) : IObjectUpload
    {
        private readonly MemoryStream _bytes = new();

        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            _bytes.Write(bytes.Span);
            return ValueTask.CompletedTask;
        }

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken) =>
            store.PutIfAbsentAsync(key, _bytes.ToArray(), cancellationToken);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
