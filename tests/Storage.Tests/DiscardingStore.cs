// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>Keeps small objects and forgets packs, so that what stays in memory is the writer's own.</summary>
internal sealed class DiscardingStore : IObjectStore
{
    private readonly MemoryStore _small = new();
    private long _discarded;

    public long Discarded => Interlocked.Read(ref _discarded);

    public string Description => "memory without packs";

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken) =>
        _small.PutIfAbsentAsync(key, content, cancellationToken);

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) =>
        ValueTask.FromResult<IObjectUpload>(new Upload(this));

    public ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
        _small.ReadAsync(key, offset, buffer, cancellationToken);

    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken) => _small.HeadAsync(key, cancellationToken);

    public IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, CancellationToken cancellationToken) =>
        _small.ListAsync(prefix, cancellationToken);

    public ValueTask DeleteAsync(string key, CancellationToken cancellationToken) => _small.DeleteAsync(key, cancellationToken);

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private sealed class Upload(DiscardingStore store) : IObjectUpload
    {
        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            Interlocked.Add(ref store._discarded, bytes.Length);
            return ValueTask.CompletedTask;
        }

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken) => ValueTask.FromResult(true);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
