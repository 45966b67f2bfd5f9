// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Tidemark.Storage;

/// <summary>
/// A store whose calls are tried again as a <see cref="RetryPolicy"/> says. A create that finds its object there after a try of its own
/// went without an answer reads it back: it won iff the object is its own (docs/format.md section 10a). A listing is begun again only
/// while nothing of it was given out; stores that list by pages try each page themselves. Below any cache. Owns the inner store.
/// </summary>
public sealed class RetryStore(IObjectStore inner, RetryPolicy policy) : IObjectStore
{
    public string Description => inner.Description;

    public int ReadsAtOnce => inner.ReadsAtOnce;

    public ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken) =>
        CreateAsync(
            token => inner.PutIfAbsentAsync(key, content, token), token => HoldsAsync(key, content, token), cancellationToken);

    public async ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken) =>
        new Upload(this, await policy.RunAsync(inner.StartUploadAsync, cancellationToken));

    public ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken) =>
        policy.RunAsync(token => inner.ReadAsync(key, offset, buffer, token), cancellationToken);

    public ValueTask<DateTimeOffset?> ReadClockAsync(CancellationToken cancellationToken) =>
        policy.RunAsync(inner.ReadClockAsync, cancellationToken);

    public ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken) =>
        policy.RunAsync(token => inner.HeadAsync(key, token), cancellationToken);

    public async ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) =>
        await policy.RunAsync(
            async token =>
            {
                await inner.ConfirmAsync(key, token);
                return true;
            },
            cancellationToken);

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var begun = await policy.RunAsync(
            async token =>
            {
                var attempt = inner.ListAsync(prefix, token).GetAsyncEnumerator(token);
                var any = false;
                try
                {
                    any = await attempt.MoveNextAsync();
                    return any ? attempt : null;
                }
                finally
                {
                    if (!any)
                        await attempt.DisposeAsync();
                }
            },
            cancellationToken);
        if (begun is null)
            yield break;
        await using (begun)
        {
            do
                yield return begun.Current;
            while (await begun.MoveNextAsync());
        }
    }

    public async ValueTask DeleteAsync(string key, CancellationToken cancellationToken) =>
        await policy.RunAsync(
            async token =>
            {
                await inner.DeleteAsync(key, token);
                return true;
            },
            cancellationToken);

    public int DeleteBatch => inner.DeleteBatch;

    public async ValueTask DeleteAsync(IReadOnlyList<string> keys, CancellationToken cancellationToken) =>
        await policy.RunAsync(
            async token =>
            {
                await inner.DeleteAsync(keys, token);
                return true;
            },
            cancellationToken);

    public async ValueTask ProbeAsync(CancellationToken cancellationToken) =>
        await policy.RunAsync(
            async token =>
            {
                await inner.ProbeAsync(token);
                return true;
            },
            cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private ValueTask<bool> CreateAsync(
        Func<CancellationToken, ValueTask<bool>> create, Func<CancellationToken, ValueTask<bool>> isOurs,
        CancellationToken cancellationToken)
    {
        var isUnknown = false;
        return policy.RunAsync(
            async token =>
            {
                try
                {
                    return await create(token) || (isUnknown && await isOurs(token));
                }
                catch (StoreFullException failure) when (isUnknown)
                {
                    // Nothing was created by this try; what the one before did is not known.
                    throw new StoreException(failure.Message, isTransient: false, failure) { Hint = failure.Hint };
                }
                catch (StoreException)
                {
                    isUnknown = true;
                    throw;
                }
            },
            cancellationToken);
    }

    private async ValueTask<bool> HoldsAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        var found = new byte[content.Length + 1];
        var read = await inner.ReadAsync(key, 0, found, cancellationToken);
        return read == content.Length && found.AsSpan(0, read).SequenceEqual(content.Span);
    }

    private sealed class Upload(RetryStore store, IObjectUpload upload) : IObjectUpload
    {
        private long _length;

        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            _length += bytes.Length;
            return upload.WriteAsync(bytes, cancellationToken);
        }

        // What is uploaded in parts is a pack: its name is the hash of its bytes, so the size settles whose it is.
        public ValueTask<bool> CommitAsync(string key, CancellationToken cancellationToken) =>
            store.CreateAsync(
                token => upload.CommitAsync(key, token),
                async token => (await store.HeadAsync(key, token))?.Size == _length,
                cancellationToken);

        public ValueTask DisposeAsync() => upload.DisposeAsync();
    }
}
