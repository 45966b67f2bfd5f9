// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Repositories;
using Tidemark.Storage;

namespace Tidemark.Engine.Doctor;

/// <summary>Reads the facts of an open repository, and tries whether this host may write there, without leaving anything.</summary>
internal static class RepositoryReader
{
    public static async Task<RepositoryFacts> ReadAsync(RepositorySession session, TimeProvider clock, CancellationToken cancellationToken)
    {
        var repository = session.Repository;
        var listing = await repository.ListPointsAsync(null, cancellationToken);
        var limits = repository.Limits;
        var (tried, failure) = await TryWriteAsync(session, listing.Points, cancellationToken);
        var before = clock.GetUtcNow();
        var store = failure is null ? await ReadClockAsync(repository, cancellationToken) : null;
        return new RepositoryFacts
        {
            IsEncrypted = repository.IsEncrypted,
            IsMaintenanceKey = repository.Role == KeyRole.Maintenance,
            Writer = repository.Writer.ToString(),
            SingleWriter = limits.SingleWriter,
            UnknownWriteFeature = limits.UnknownWriteFeature,
            UnknownCollectFeature = limits.UnknownCollectFeature,
            WasWriteTried = tried,
            WriteFailure = failure,
            FreeBytes = S3Options.IsUrl(session.Url) ? null : new DriveInfo(session.Url).AvailableFreeSpace,
            Now = before,
            StoreNow = store,
            Points = listing.Points.Count,
            Newest = listing.Points.Where(point => point.Copied is null).GroupBy(point => point.Uuid, StringComparer.Ordinal).ToDictionary(
                machine => machine.Key,
                machine => machine.Select(point => new NewestPoint(point.Name, point.Host, point.Time, point.Stored)).First(),
                StringComparer.Ordinal),
            Damaged = listing.Damaged.Select(damage => damage.Message).ToList(),
        };
    }

    private static async Task<(bool Tried, string? Failure)> TryWriteAsync(
        RepositorySession session, IReadOnlyList<RestorePoint> points, CancellationToken cancellationToken)
    {
        try
        {
            // The newest one: nobody deletes it within the moment that this takes.
            if (points.MaxBy(point => point.Stored) is { } newest)
                await session.Repository.TryRewriteAsync(newest, cancellationToken);
            else if (S3Options.IsUrl(session.Url))
                return (false, null);
            else
                await session.Repository.TryUploadAsync(cancellationToken);
            return (true, null);
        }
        catch (StoreException e)
        {
            return (true, e.Message);
        }
    }

    private static async Task<DateTimeOffset?> ReadClockAsync(Repository repository, CancellationToken cancellationToken)
    {
        try
        {
            return await repository.ReadStoreClockAsync(cancellationToken);
        }
        catch (StoreException)
        {
            return null;
        }
    }
}
