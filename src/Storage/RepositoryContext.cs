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
    public RepositoryContext Fresh() => new(Store, Keys, Writer, Id, Host, Clock) { Scheduler = Scheduler, NewRun = NewRun, Processes = Processes };

    /// <summary>The roster of an epoch, if it is the one read last; rosters never change.</summary>
    public Roster? FindRoster(int epoch) => Volatile.Read(ref _roster) is { } known && known.Epoch == epoch ? known.Roster : null;

    public void KeepRoster(int epoch, Roster roster) => Volatile.Write(ref _roster, new KnownRoster(epoch, roster));

    /// <summary>A sealed object's plain bytes, or null when there is none.</summary>
    public async ValueTask<byte[]?> ReadSealedAsync(string key, CancellationToken cancellationToken)
    {
        var content = await Store.TryReadAllAsync(key, StorageLimits.MaxSealedObject, cancellationToken);
        return content is null ? null : Open(key, content);
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
