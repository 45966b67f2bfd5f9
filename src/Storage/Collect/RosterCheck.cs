// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>
/// Compares the points of the last roster with what is there now: one that is missing, empty or different without a retire record was
/// lost or tampered with, whatever the store says (I18).
/// </summary>
internal static class RosterCheck
{
    public static RepositoryDamagedException? Compare(RosterPoint expected, long? size, string hash)
    {
        var key = $"{ObjectNames.Points}{expected.Machine}/{expected.Run}";
        if (size is null or 0)
            return new RepositoryDamagedException(
                key, "a restore point that was there at the last collection", size is null ? "none" : "an empty object");
        return size == expected.Size && hash == expected.Sha256 ? null : new RepositoryDamagedException(
            key, $"the {expected.Size} bytes with SHA-256 '{expected.Sha256}' of the last collection", $"{size} bytes with '{hash}'");
    }

    /// <summary>What is wrong with the points of the last roster; those that can't be read, or do not open at all, are left to
    /// whoever lists points.</summary>
    public static async Task<IReadOnlyList<RepositoryDamagedException>> ProblemsAsync(
        Repository repository, CancellationToken cancellationToken)
    {
        var store = repository.Context.Store;
        var roster = (await EpochListing.ReadAsync(repository.Context, cancellationToken)).Roster;
        var problems = new List<RepositoryDamagedException>();
        foreach (var expected in roster.Points)
        {
            var suffix = $"{expected.Machine}/{expected.Run}";
            ObjectInfo? info = null;
            try
            {
                info = await store.HeadAsync(ObjectNames.Points + suffix, cancellationToken);
                var known = info is { Size: > 0 } ? await repository.ReadPointAsync(ObjectNames.Points + suffix, cancellationToken) : null;
                if (Compare(expected, info?.Size, known?.Hash ?? "") is { } problem
                    && await store.HeadAsync(ObjectNames.Retired + suffix, cancellationToken) is null)
                    problems.Add(problem);
            }
            catch (Exception failure) when (
                failure is RepositoryDamagedException || (failure is StoreException { IsTransient: false } && info is not null))
            {
                continue;
            }
        }

        return problems;
    }
}
