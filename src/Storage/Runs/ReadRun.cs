// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A registered reader of one restore point; disposing it ends the registration. Disks opened through it are the
/// caller's.</summary>
public sealed class ReadRun : IAsyncDisposable
{
    private readonly RepositoryContext _context;
    private readonly ReadMark _mark;

    internal ReadRun(RepositoryContext context, RestorePoint point, ReadMark mark) => (_context, Point, _mark) = (context, point, mark);

    public RestorePoint Point { get; }

    /// <summary>Whether a collector knows of this reader.</summary>
    public bool IsProtected => _mark.IsProtected;

    /// <exception cref="KeyNotFoundException">The point has no such disk.</exception>
    /// <exception cref="KeyRoleException">The key does not open the point's key domain.</exception>
    public DiskReader OpenDisk(string name) => new(_context.In(Point.Domain), Point.Disk(name).Tree);

    public ValueTask DisposeAsync() => _mark.DisposeAsync();
}
