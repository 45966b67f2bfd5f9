// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>One actor's way to the store: every call waits until the driver lets it happen, fail, or die with its actor.</summary>
internal sealed class SimulatedStore(World world, Actor actor) : IObjectStore
{
    public string Description => "simulated";

    public async ValueTask<bool> PutIfAbsentAsync(string key, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        ObjectKey.Check(key);
        cancellationToken.ThrowIfCancellationRequested();
        var bytes = content.ToArray();
        return (bool)(await AskAsync(RequestKind.Create, key, () => world.Objects.TryCreate(key, bytes)))!;
    }

    public ValueTask<IObjectUpload> StartUploadAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult<IObjectUpload>(new Upload(this));
    }

    public async ValueTask<int> ReadAsync(string key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var found = await AskAsync(RequestKind.Read, key, () => world.Objects.Read(key));
        var content = found as byte[] ?? throw new ObjectMissingException(key, Description);
        var length = (int)Math.Max(0, Math.Min(buffer.Length, content.Length - offset));
        content.AsSpan((int)Math.Min(offset, content.Length), length).CopyTo(buffer.Span);
        return length;
    }

    public ValueTask ConfirmAsync(string key, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public async ValueTask<ObjectInfo?> HeadAsync(string key, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return (ObjectInfo?)await AskAsync(RequestKind.Head, key, () => world.Objects.Head(key));
    }

    /// <summary>A request that takes effect only when something is so.</summary>
    public Task WaitAsync(Func<bool> isSo) => AskAsync(RequestKind.Head, "config", () => null, isSo);

    public async IAsyncEnumerable<ObjectInfo> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var salt = world.ChooseListingOrder();
        var last = (Order: 0u, Key: "");
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = world.ChoosePageSize();
            var from = last;
            var page = (List<(uint Order, ObjectInfo Info)>)(await AskAsync(
                RequestKind.List, prefix, () => world.Objects.Page(prefix, salt, from, count)))!;
            foreach (var (order, info) in page)
            {
                yield return info;
                last = (order, info.Key);
            }

            if (page.Count < count)
                yield break;
        }
    }

    public async ValueTask DeleteAsync(string key, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        await AskAsync(RequestKind.Delete, key, () => world.Objects.Delete(key));
    }

    public ValueTask ProbeAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private Task<object?> AskAsync(RequestKind kind, string key, Func<object?> effect, Func<bool>? until = null)
    {
        var request = new StoreRequest(actor, kind, key, effect) { Until = until };
        world.Submit(request);
        return request.Answer.Task;
    }

    private sealed class Upload(SimulatedStore store) : IObjectUpload
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

internal enum RequestKind
{
    Create,
    Delete,
    Read,
    Head,
    List,
}

/// <summary>A call that waits for the driver.</summary>
internal sealed record StoreRequest(Actor Actor, RequestKind Kind, string Key, Func<object?> Effect)
{
    public TaskCompletionSource<object?> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Nothing comes of it before this is so, as long as anything else can go on.</summary>
    public Func<bool>? Until { get; init; }

    public bool Changes => Kind is RequestKind.Create or RequestKind.Delete;
}
