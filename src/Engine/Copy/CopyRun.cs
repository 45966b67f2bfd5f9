// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;
using Tidemark.Storage;

namespace Tidemark.Engine.Copy;

/// <summary>What copying came to; the shape is part of the command-line contract. Sizes are bytes.</summary>
/// <param name="Copied">The new points in the other repository.</param>
/// <param name="AlreadyThere">How many of the wanted ones had been copied before.</param>
/// <param name="Failed">Points that could not be copied, each with the reason.</param>
/// <param name="ReadBytes">Chunks read here, and packs taken over whole.</param>
/// <param name="StoredBytes">What was added there.</param>
public sealed record CopySummary(
    IReadOnlyList<PointInfo> Copied, int AlreadyThere, IReadOnlyList<CopyFailure> Failed, long ReadBytes, long StoredBytes)
{
    /// <summary>Points left out, as the key does not open their key domains.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int OtherDomains { get; init; }
}

/// <summary>A point that was not copied.</summary>
public sealed record CopyFailure(string Point, string Error, bool IsDamaged);

/// <summary>
/// Brings points into a second repository, oldest first, each compared with what was copied of its machine before. What is there already
/// is recognised, so a second call goes on where one was ended. A point that is damaged does not stop the others.
/// </summary>
public static class CopyRun
{
    private const int PlanTries = 3; // a point there may be deleted while it is being compared with

    /// <param name="source">Where the points are.</param>
    /// <param name="target">Where they go.</param>
    /// <param name="chosen">Which; empty for all.</param>
    /// <param name="observer">Told how far each disk is.</param>
    /// <param name="cancellationToken">Ends it; the point at work is not committed.</param>
    /// <exception cref="EngineException">A store failed, or a key does not allow it; points copied before stay.</exception>
    public static async Task<CopySummary> RunAsync(
        RepositorySession source, RepositorySession target, IReadOnlyList<PointInfo> chosen, Action<RunEvent> observer,
        CancellationToken cancellationToken)
    {
        if (source.Url == target.Url)
            throw EngineException.Usage($"Source and target are the same repository, '{source.Url}'.", "--to URL of another one");
        try
        {
            var here = await source.Repository.ListPointsAsync(null, cancellationToken);
            var there = (await target.Repository.ListPointsAsync(null, cancellationToken)).Points;
            var points = PointMarks.Mark(here.Points); // a copy says itself what is known of it now
            var wanted = chosen.Count == 0
                ? points.Where(point => source.Repository.Opens(point.Domain)).ToList()
                : points.Where(point => chosen.Any(one => one.Id == point.ShortId)).ToList();
            var missing = source.Repository.MissingIn(wanted, there);
            var run = new Progress(source.Repository, target.Repository, points, [.. there], observer);
            foreach (var point in missing)
                await run.CopyAsync(point, cancellationToken);
            await TellAsync(source.Repository, target.Repository, points, cancellationToken);
            foreach (var damaged in chosen.Count == 0 ? here.Damaged : [])
                run.Failed.Add(new CopyFailure(damaged.DamagedObject, damaged.Message, IsDamaged: true));
            return new CopySummary(
                run.Copied.Select(RepositorySession.Describe).ToList(), wanted.Count - missing.Count, run.Failed, run.ReadBytes,
                run.Copied.Sum(point => point.NewBytes))
            {
                OtherDomains = chosen.Count == 0 ? here.Points.Count - wanted.Count : 0,
            };
        }
        catch (Exception e) when (e is not (EngineException or OperationCanceledException))
        {
            throw Failures.Translate(e);
        }
    }

    // What was copied before, and was doubted since: as if all that is known here had been copied too.
    private static async Task TellAsync(
        Repository source, Repository target, IReadOnlyList<RestorePoint> here, CancellationToken cancellationToken)
    {
        var from = source.Id.ToString("N");
        var telling = here.Where(point => point.Disks.Any(disk => disk.Doubt is not null || disk.Missed is not null))
            .Select(point => point with { Copied = new CopiedFrom(from, point.Id.ToString()) }).ToList();
        if (telling.Count > 0)
            await MarkKeeper.KeepAsync(target, null, telling, cancellationToken);
    }

    private sealed class Progress(
        Repository source, Repository target, IReadOnlyList<RestorePoint> here, List<RestorePoint> there, Action<RunEvent> observer)
    {
        public List<RestorePoint> Copied { get; } = [];

        public List<CopyFailure> Failed { get; } = [];

        public long ReadBytes { get; private set; }

        public async Task CopyAsync(RestorePoint point, CancellationToken cancellationToken)
        {
            for (var attempt = 1; ; attempt++)
            {
                var step = source.PlanCopy(point, here, there);
                try
                {
                    var result = await source.CopyToAsync(target, step, (disk, done) => Report(point, disk, done), cancellationToken);
                    ReadBytes += result.ReadBytes + result.PackBytes;
                    Copied.Add(result.Point);
                    there.Add(result.Point);
                    return;
                }
                catch (BaseUnusableException) when (attempt < PlanTries && step.Origin is not null)
                {
                    there.RemoveAll(other => other.Id == step.Origin.Id);
                }
                catch (RepositoryDamagedException failure)
                {
                    Failed.Add(new CopyFailure(point.ShortId, failure.Message, IsDamaged: true));
                    return;
                }
            }
        }

        private void Report(RestorePoint point, string disk, long done) =>
            observer(new DiskProgress(point.Name, $"{point.ShortId} {disk}", done, null));
    }
}
