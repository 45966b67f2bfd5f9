// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Points whose usage is asked for as one.</summary>
public sealed record UsageGroup(string Name, IReadOnlySet<RunId> Points);

/// <summary>What a group takes.</summary>
/// <param name="Name">The group's.</param>
/// <param name="Points">Restore points in it.</param>
/// <param name="LogicalBytes">Sizes of their disks and files.</param>
/// <param name="UniqueBytes">Stored bytes that nothing else needs: what deleting the group would give back.</param>
public sealed record GroupUsage(string Name, int Points, long LogicalBytes, long UniqueBytes);

/// <summary>What a repository holds, in bytes.</summary>
public sealed record RepositoryUsage
{
    public int Points { get; init; }

    /// <summary>Sizes of all disks and files of all points.</summary>
    public long LogicalBytes { get; init; }

    /// <summary>What of them is not zero, counted for each point.</summary>
    public long ReferencedBytes { get; init; }

    /// <summary>The same, each chunk counted once: what was deduplicated is the difference.</summary>
    public long DataBytes { get; init; }

    /// <summary>Stored bytes of what the points need.</summary>
    public long LiveBytes { get; init; }

    /// <summary>Stored bytes that only deleted points need, which can still be brought back, or runs under way.</summary>
    public long DeletedBytes { get; init; }

    /// <summary>Bytes of all packs.</summary>
    public long StoredBytes { get; init; }

    public IReadOnlyList<GroupUsage> Groups { get; init; } = [];
}

public sealed partial class Repository
{
    /// <summary>Counts what points need, alone and together. Reads every node of every point.</summary>
    /// <exception cref="RepositoryDamagedException">Something that counts can't be read.</exception>
    public async Task<RepositoryUsage> UsageAsync(
        IReadOnlyList<UsageGroup> groups, IProgress<CollectProgress>? progress, CancellationToken cancellationToken)
    {
        var now = _context.Clock.GetUtcNow();
        using var view = new CollectorView(Afresh(), new CollectOptions(), now, progress);
        await view.LookAsync(await EpochListing.ReadAsync(_context, cancellationToken), cancellationToken);
        var listing = await ListPointsAsync(null, cancellationToken);
        using var owners = new OwnerWalk(_context, view.Index);
        using var counts = new ChunkCount(_context);
        var (points, logical) = (new int[groups.Count + 1], new long[groups.Count + 1]);
        long referenced = 0;
        foreach (var point in listing.Points)
        {
            var group = Enumerable.Range(0, groups.Count).FirstOrDefault(i => groups[i].Points.Contains(point.Id), groups.Count);
            points[group]++;
            foreach (var tree in point.Trees)
            {
                logical[group] += tree.Size;
                await owners.AddAsync(tree, group, cancellationToken);
                referenced += await counts.OfAsync(tree, cancellationToken) << tree.ChunkLog2;
            }
        }

        var (unique, live, plain) = owners.Sum(groups.Count + 1);
        return new RepositoryUsage
        {
            Points = listing.Points.Count,
            LogicalBytes = logical.Sum(),
            ReferencedBytes = referenced,
            DataBytes = plain,
            LiveBytes = live,
            DeletedBytes = Math.Max(0, view.LiveBytes() - live),
            StoredBytes = view.Packs.Values.Sum(),
            Groups = [.. groups.Select((group, i) => new GroupUsage(group.Name, points[i], logical[i], unique[i]))],
        };
    }
}
