// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Storage;

namespace Tidemark.TestKit;

/// <summary>
/// A store that fails now and then, as a network does: before an operation took effect, or after it, its answer lost. Which ones is the
/// random's choice, or <see cref="Fault"/>'s. Does not own the inner store.
/// </summary>
public sealed class FaultStore(IObjectStore inner, Random random, double rate) : IObjectStore
{
    private readonly Lock _gate = new();
    private int _failures;

    /// <summary>Asked before every operation with its verb and key; what it returns is thrown.</summary>
    public Func<string, string, Exception?>? Fault { get; init; }

    /// <summary>Operations that failed.</summary>
    public int Failures => Volatile.Read(ref _failures);

    public string Description => inner.Description;

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken) =>
        TryAsync("put", key, () => inner.PutIfAbsentAsync(key, content, cancellationToken));

    public async ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) =>
        new Upload(this, await inner.StartUploadAsync(cancellationToken));

    public ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
        TryAsync("read", key, () => inner.ReadAsync(key, offset, buffer, cancellationToken));

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken) =>
        TryAsync("head", key, () => inner.HeadAsync(key, cancellationToken));

    public async ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) =>
        await TryAsync("confirm", key, async () =>
        {
            await inner.ConfirmAsync(key, cancellationToken);
            return true;
        });

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await TryAsync("list", prefix, () => ValueTask.FromResult(true));
        await foreach (var info in inner.ListAsync(prefix, cancellationToken))
            yield return info;
    }

    public async ValueTask DeleteAsync(string key, CancellationToken cancellationToken) =>
        await TryAsync("delete", key, async () =>
        {
            await inner.DeleteAsync(key, cancellationToken);
            return true;
        });

    public int DeleteBatch => inner.DeleteBatch;

    public async ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken) =>
        await TryAsync("delete", keys[0], async () =>
        {
            await inner.DeleteAsync(keys, cancellationToken);
            return true;
        });

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => inner.ProbeAsync(cancellationToken);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private async ValueTask<T> TryAsync<T>(string verb, string key, Func<ValueTask<T>> operation)
    {
        if (Fault?.Invoke(verb, key) is { } chosen)
            throw Count(chosen);
        var dice = Roll();
        if (dice < rate / 2)
            throw Count(new StoreException($"Could not {verb} '{key}': the connection broke before.", isTransient: true));
        var result = await operation();
        return dice < rate
            ? throw Count(new StoreException($"Could not {verb} '{key}': the answer was lost.", isTransient: true))
            : result;
    }

    private double Roll()
    {
        lock (_gate)
            return random.NextDouble();
    }

    private Exception Count(Exception failure)
    {
        Interlocked.Increment(ref _failures);
        return failure;
    }

    private sealed class Upload(FaultStore store, IObjectUpload upload) : IObjectUpload
    {
        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) =>
            upload.WriteAsync(bytes, cancellationToken);

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken) =>
            store.TryAsync("put", key, () => upload.CommitAsync(key, cancellationToken));

        public ValueTask DisposeAsync() => upload.DisposeAsync();
    }
}
