// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// What keeps collectors from trees that are read: the objects of one or more read runs, and their heartbeats. Disposing it ends them.
/// </summary>
internal sealed class ReadMark(RepositoryContext context) : IAsyncDisposable
{
    private readonly List<(string Key, Heartbeat Heartbeat)> _runs = [];

    /// <summary>Whether collectors know of all trees; false where the store can't be written to.</summary>
    public bool IsProtected { get; set; } = true;

    public void Add(string key) => _runs.Add((key, new Heartbeat(context, key)));

    public async ValueTask DisposeAsync()
    {
        foreach (var (key, heartbeat) in _runs)
        {
            await heartbeat.DisposeAsync();
            try
            {
                await context.Store.PutIfAbsentAsync(key + ".end", ReadOnlyMemory<byte>.Empty, CancellationToken.None);
            }
            catch (StoreException)
            {
                continue; // its heartbeats have ended: a collector stops minding it
            }
        }
    }
}
