// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What every part of an open repository needs: the store, the keys, codecs. Owned by <see cref="Repository"/>.</summary>
internal sealed record RepositoryContext(
    IObjectStore Store, RepositoryKeys Keys, WriterId Writer, Guid Id, string Host, TimeProvider Clock) : IDisposable
{
    public ZstdPool Codecs { get; } = new();

    /// <summary>Where all work of this repository runs.</summary>
    public TaskScheduler Scheduler { get; init; } = TaskScheduler.Default;

    /// <summary>Makes the ids of runs that are given none.</summary>
    public Func<RunId> NewRun { get; init; } = RunId.New;

    public NodeCache Nodes { get; } = new();

    /// <summary>Which processes of this host are gone.</summary>
    public ProcessTable Processes { get; init; } = ProcessTable.OfHost;

    private KnownRoster? _roster;

    /// <summary>The same repository with nothing cached; disposed on its own.</summary>
    public RepositoryContext Fresh() => new(Store.Uncached, Keys, Writer, Id, Host, Clock)
    {
        Scheduler = Scheduler,
        NewRun = NewRun,
        Processes = Processes,
    };

    /// <summary>The same repository for a key domain; owned by this one.</summary>
    /// <exception cref="KeyRoleException">The key opens another domain only, or none.</exception>
    public RepositoryContext In(string domain) => domain == Keys.Domain ? this : this with { Keys = Keys.In(domain) };

    /// <summary>The roster of an epoch, if it is the one read last; rosters never change.</summary>
    public Roster? FindRoster(int epoch) =>
        Volatile.Read(ref _roster) is { } known && known.Epoch == epoch ? known.Roster : null;

    public void KeepRoster(int epoch, Roster roster) => Volatile.Write(ref _roster, new KnownRoster(epoch, roster));

    /// <summary>A sealed object's plain bytes, or null when there is none.</summary>
    public async ValueTask<byte[]?> ReadSealedAsync(string key, CancellationToken cancellationToken) =>
        (await ReadSealedAsync(key, isEmptyNone: false, cancellationToken))?.Plain;

    /// <summary>A sealed object as it lies in the store and its plain bytes; null when there is none, or an empty one and
    /// <paramref name="isEmptyNone"/>.</summary>
    public async ValueTask<(byte[] Content, byte[] Plain)?> ReadSealedAsync(
        string key, bool isEmptyNone, CancellationToken cancellationToken)
    {
        try
        {
            return await ReadSealedAsync(Store, key, isEmptyNone, cancellationToken);
        }
        catch (RepositoryDamagedException) when (Store.Uncached != Store)
        {
            return await ReadSealedAsync(Store.Uncached, key, isEmptyNone, cancellationToken);
        }
    }

    private async ValueTask<(byte[] Content, byte[] Plain)?> ReadSealedAsync(
        IObjectStore store, string key, bool isEmptyNone, CancellationToken cancellationToken)
    {
        var content = await store.TryReadAllAsync(key, StorageLimits.MaxSealedObject, cancellationToken);
        return content is null || (content.Length == 0 && isEmptyNone) ? null : (content, Open(key, content));
    }

    public byte[] Open(string key, ReadOnlySpan<byte> content)
    {
        using var codec = Codecs.Rent();
        return SealedObject.Open(Keys, codec.Codec, key, content);
    }

    public byte[] Close(string key, ReadOnlySpan<byte> plain)
    {
        using var codec = Codecs.Rent();
        return SealedObject.Close(Keys, codec.Codec, key, plain);
    }

    public void Dispose() => Codecs.Dispose();

    private sealed record KnownRoster(int Epoch, Roster Roster);
}
