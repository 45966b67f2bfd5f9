// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Which deleted points and disks can't be brought back any more.</summary>
internal static class PointExpiry
{
    /// <summary>Names below expire/ that are due: retired for longer than the window by the store's clock, and not gone.</summary>
    public static async Task<IReadOnlyList<string>> DueAsync(
        Repository repository, TimeSpan window, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var store = repository.Context.Store;
        var due = new HashSet<string>(StringComparer.Ordinal);
        await foreach (var info in store.ListAsync(ObjectNames.Retired, cancellationToken))
        {
            if (now - info.Modified >= window)
                due.Add(info.Key[ObjectNames.Retired.Length..]);
        }

        if (due.Count == 0)
            return [];
        await foreach (var info in store.ListAsync(ObjectNames.Expired, cancellationToken))
            due.Remove(info.Key[ObjectNames.Expired.Length..]);
        var roster = (await EpochListing.ReadAsync(repository.Context, cancellationToken)).Roster;
        due.RemoveWhere(suffix => ObjectNames.ParsePoint(ObjectNames.Expired + suffix) is not { } name || roster.IsGone(name.Run));
        if (due.Count == 0)
            return [];

        // Whoever protects a deleted point keeps it.
        var kept = (await repository.ListDeletedAsync(null, cancellationToken)).Points.Where(point => point.Label.IsProtectedAt(now));
        due.ExceptWith(kept.Select(point => $"{point.MachineId}/{point.Id}"));
        return [.. due.Order(StringComparer.Ordinal)];
    }
}
