// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Tidemark.Storage;

/// <summary>Requests and bytes of a store by kind, counted as they are begun. Safe from any thread.</summary>
public sealed class RequestCounts
{
    private long _puts;
    private long _gets;
    private long _heads;
    private long _lists;
    private long _deletes;
    private long _sent;
    private long _received;

    /// <summary>Creates, won or lost.</summary>
    public long Puts => Interlocked.Read(ref _puts);

    public long Gets => Interlocked.Read(ref _gets);

    public long Heads => Interlocked.Read(ref _heads);

    /// <summary>Pages of listings.</summary>
    public long Lists => Interlocked.Read(ref _lists);

    /// <summary>Requests to delete, of one object or many.</summary>
    public long Deletes => Interlocked.Read(ref _deletes);

    /// <summary>Bytes of the objects put.</summary>
    public long BytesSent => Interlocked.Read(ref _sent);

    /// <summary>Bytes read from objects.</summary>
    public long BytesReceived => Interlocked.Read(ref _received);

    internal void Put(long bytes)
    {
        Interlocked.Increment(ref _puts);
        Interlocked.Add(ref _sent, bytes);
    }

    internal void Get() => Interlocked.Increment(ref _gets);

    internal void Received(long bytes) => Interlocked.Add(ref _received, bytes);

    internal void Head() => Interlocked.Increment(ref _heads);

    internal void List() => Interlocked.Increment(ref _lists);

    internal void Delete() => Interlocked.Increment(ref _deletes);
}

/// <summary>A store whose requests are counted; directly around the store itself, so that every try counts. Owns the inner store.</summary>
public sealed class MeterStore(IObjectStore inner, RequestCounts counts) : IObjectStore
{
    private const int PageSize = 1000; // keys of a page, as S3 lists them

    public string Description => inner.Description;

    public int ReadsAtOnce => inner.ReadsAtOnce;

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        counts.Put(content.Length);
        return inner.PutIfAbsentAsync(key, content, cancellationToken);
    }

    public async ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) =>
        new Upload(counts, await inner.StartUploadAsync(cancellationToken));

    public async ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        counts.Get();
        var read = await inner.ReadAsync(key, offset, buffer, cancellationToken);
        counts.Received(read);
        return read;
    }

    public ValueTask<DateTimeOffset?> ReadClockAsync(CancellationToken cancellationToken) => inner.ReadClockAsync(cancellationToken);

    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => inner.ConfirmAsync(key, cancellationToken);

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken)
    {
        counts.Head();
        return inner.HeadAsync(key, cancellationToken);
    }

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        counts.List();
        var listed = 0;
        await foreach (var info in inner.ListAsync(prefix, cancellationToken))
        {
            if (listed++ == PageSize)
            {
                counts.List();
                listed = 1;
            }

            yield return info;
        }
    }

    public ValueTask DeleteAsync(string key, CancellationToken cancellationToken)
    {
        counts.Delete();
        return inner.DeleteAsync(key, cancellationToken);
    }

    public int DeleteBatch => inner.DeleteBatch;

    public ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken)
    {
        counts.Delete();
        return inner.DeleteAsync(keys, cancellationToken);
    }

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => inner.ProbeAsync(cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private sealed class Upload(RequestCounts counts, IObjectUpload upload) : IObjectUpload
    {
        private long _length;

        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            _length += bytes.Length;
            return upload.WriteAsync(bytes, cancellationToken);
        }

        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken)
        {
            counts.Put(_length);
            return upload.CommitAsync(key, cancellationToken);
        }

        public ValueTask DisposeAsync() => upload.DisposeAsync();
    }
}
