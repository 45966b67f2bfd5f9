// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>A folder that was probed before: 32 creations less for each N.</summary>
internal sealed class Unprobed(FolderStore store) : IObjectStore
{
    public string Description => store.Description;

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken) =>
        store.PutIfAbsentAsync(key, content, cancellationToken);

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) => store.StartUploadAsync(cancellationToken);

    public ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
        store.ReadAsync(key, offset, buffer, cancellationToken);

    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => store.ConfirmAsync(key, cancellationToken);

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken) => store.HeadAsync(key, cancellationToken);

    public IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, CancellationToken cancellationToken) =>
        store.ListAsync(prefix, cancellationToken);

    public ValueTask DeleteAsync(string key, CancellationToken cancellationToken) => store.DeleteAsync(key, cancellationToken);

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => store.DisposeAsync();
}
