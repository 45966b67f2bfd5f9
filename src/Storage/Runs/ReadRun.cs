// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A registered reader of one restore point; disposing it ends the registration. Disks opened through it are the
/// caller's.</summary>
public sealed class ReadRun : IAsyncDisposable
{
    private readonly RepositoryContext _context;
    private readonly string? _key;
    private readonly Heartbeat? _heartbeat;

    internal ReadRun(RepositoryContext context, RestorePoint point, string? key)
    {
        (_context, Point, _key) = (context, point, key);
        _heartbeat = key is null ? null : new Heartbeat(context, key);
    }

    public RestorePoint Point { get; }

    /// <summary>Whether a collector knows of this reader.</summary>
    public bool IsProtected => _key is not null;

    /// <exception cref="KeyNotFoundException">The point has no such disk.</exception>
    /// <exception cref="KeyRoleException">The key does not open the point's key domain.</exception>
    public DiskReader OpenDisk(string name) => new(_context.In(Point.Domain), Point.Disk(name).Tree);

    public async ValueTask DisposeAsync()
    {
        if (_heartbeat is null)
            return;
        await _heartbeat.DisposeAsync();
        try
        {
            await _context.Store.PutIfAbsentAsync(_key + ".end", ReadOnlyMemory<byte>.Empty, CancellationToken.None);
        }
        catch (StoreException)
        {
            return; // its heartbeats have ended: a collector stops minding it
        }
    }
}
