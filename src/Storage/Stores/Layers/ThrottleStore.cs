// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// A store whose bytes, in both directions, keep to a rate: for stores that move them at once, such as a folder. A bucket's requests
/// take long, so <see cref="S3Store"/> paces the bodies themselves. Owns the inner store.
/// </summary>
public sealed class ThrottleStore(IObjectStore inner, RateLimit limit) : IObjectStore
{
    public string Description => inner.Description;

    public int ReadsAtOnce => inner.ReadsAtOnce;

    public async ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        await limit.TakeAsync(content.Length, cancellationToken);
        return await inner.PutIfAbsentAsync(key, content, cancellationToken);
    }

    public async ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) =>
        new Upload(limit, await inner.StartUploadAsync(cancellationToken));

    public async ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        for (var total = 0; ;)
        {
            var part = buffer.Slice(total, Math.Min(limit.Slice, buffer.Length - total));
            var read = await inner.ReadAsync(key, offset + total, part, cancellationToken);
            total += read;
            await limit.TakeAsync(read, cancellationToken);
            if (read < part.Length || total == buffer.Length)
                return total;
        }
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

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private sealed class Upload(RateLimit limit, IObjectUpload upload) : IObjectUpload
    {
        public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            for (; !bytes.IsEmpty; bytes = bytes[Math.Min(limit.Slice, bytes.Length)..])
            {
                var part = bytes[..Math.Min(limit.Slice, bytes.Length)];
                await limit.TakeAsync(part.Length, cancellationToken);
                await upload.WriteAsync(part, cancellationToken);
            }
        }

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken) => upload.CommitAsync(key, cancellationToken);

        public ValueTask DisposeAsync() => upload.DisposeAsync();
    }
}
