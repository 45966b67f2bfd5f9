// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Care;
using Tidemark.Engine.Copy;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Storage;

namespace Tidemark.Engine.Tests;

/// <summary>
/// That a restore point may lack changes is known for as long as the point can be restored, whatever becomes of the points that told of
/// it: random histories of runs that find something or nothing, deletions of all kinds, points brought back and copied, against what is
/// remembered beside the repositories.
/// </summary>
public sealed class MarkKeepingTests
{
    private const int Operations = 60;
    private static readonly string[] Names = ["vda", "vdb"];
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task AnyHistory_KeepsEveryMark_AndMarksNothingElse(int seed)
    {
        var folder = Path.Combine(Path.GetTempPath(), $"tm-marks-{Guid.NewGuid():n}");
        try
        {
            await using var here = await CreateAsync(Path.Combine(folder, "here"));
            await using var there = await CreateAsync(Path.Combine(folder, "there"));
            var history = new History(here, there, new Random(seed));
            for (var i = 0; i < Operations; i++)
                await history.StepAsync();
            Assert.True(history.DoubtedChecks > Operations / 3, $"only {history.DoubtedChecks} doubtful disks were looked at");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void ManyRanges_BecomeFew_ThatDoubtNoLess()
    {
        var random = new Random(5);
        for (var round = 0; round < 200; round++)
        {
            var ranges = Enumerable.Range(0, random.Next(200)).Select(_ =>
            {
                var after = random.Next(1000);
                return new MissedChanges(after, after + random.Next(40), Start.AddMinutes(after), Start.AddMinutes(after + 50));
            }).ToList();
            var joined = Missed.Join(ranges);
            Assert.True(joined.Count <= Missed.MostRanges);
            Assert.Equal(joined, Missed.Join([.. joined, .. joined]));
            for (var seq = 0; seq < 1050; seq++)
            {
                var before = ranges.Where(range => range.After < seq && seq < range.Before).ToList();
                var after = joined.Where(range => range.After < seq && seq < range.Before).ToList();
                if (before.Count > 0)
                    Assert.True(after.Count > 0 && after.Min(range => range.Since) <= before.Min(range => range.Since));
                else if (joined.Count < Missed.MostRanges)
                    Assert.Empty(after);
            }
        }
    }

    private static async Task<RepositorySession> CreateAsync(string folder)
    {
        await RepositorySession.InitAsync(folder, null, allowSingleWriter: false, Token);
        return await RepositorySession.OpenAsync(folder, new RepositoryAccess(null, null), Token);
    }

    private sealed class History(RepositorySession here, RepositorySession there, Random random)
    {
        private readonly MachineId _machine = new(Guid.NewGuid().ToString("d"));
        private readonly List<string> _log = [];
        private readonly HashSet<(DateTimeOffset Time, string Disk)> _doubted = [];
        private readonly HashSet<(DateTimeOffset Time, string Disk)> _knownThere = [];
        private readonly List<(long Seq, DateTimeOffset Time, string[] Disks)> _runs = [];

        public int DoubtedChecks { get; private set; }

        public async Task StepAsync()
        {
            var points = (await here.PointsAsync(Token)).Points;
            var some = points.Where(_ => random.Next(3) == 0).ToList();
            switch (random.Next(10))
            {
                case < 4:
                    await RunAsync();
                    break;
                case 4 when points.Count > 0:
                    await ForgetAsync(here, [points[^1]], [], "forget the newest");
                    break;
                case 5 when some.Count > 0:
                    var disk = Names[random.Next(2)];
                    await ForgetAsync(
                        here, [.. some.Where(point => point.Disks.Any(found => found.Name == disk))],
                        random.Next(2) == 0 ? [] : [disk], "forget");
                    break;
                case 6:
                    _log.Add("prune");
                    await new RepositoryCare(here, TimeProvider.System).PruneAsync(
                        new RetentionPolicy { Last = 1, Daily = random.Next(3) }, [], dryRun: false, Token);
                    break;
                case 7:
                    await UndoAsync();
                    break;
                case 8 when points.Count > 0:
                    await CopyAsync(random.Next(2) == 0 ? [] : some.Count > 0 ? some : [points[0]]);
                    break;
                default:
                    var copies = (await there.PointsAsync(Token)).Points;
                    if (copies.Count > 0)
                        await ForgetAsync(there, [copies[random.Next(copies.Count)], copies[^1]], [], "forget there");
                    break;
            }

            await CheckAsync(here, _doubted, _doubted);
            await CheckAsync(there, _knownThere, _doubted);
        }

        private async Task RunAsync()
        {
            var disks = random.Next(3) == 0 ? [Names[random.Next(2)]] : Names;
            await using var run = await here.Repository.BeginRunAsync(_machine, new BackupRunOptions(), Token);
            var time = Start.AddHours(_runs.Count * 7);
            var known = (await here.PointsOfAsync(_machine.Value, Token)).Where(point => point.Copied is null).ToList();
            var drafts = new List<DraftDisk>();
            foreach (var name in disks)
            {
                var ranges = known.SelectMany(point => point.Disks).Where(disk => disk.Name == name).SelectMany(disk => disk.Missed ?? []);
                if (random.Next(4) == 0)
                    ranges = ranges.Append(Find(name, run.Seq, time));
                var writer = run.OpenDisk(name, 1 << 16, 16, null);
                drafts.Add(new DraftDisk(await writer.FinishAsync(Token), new PointDisk
                {
                    Mode = "full",
                    Audit = new DiskAudit { Seq = run.Seq },
                    Missed = Missed.Join(ranges),
                }));
            }

            _log.Add($"run {run.Seq} of {string.Join(" ", disks)}");
            _runs.Add((run.Seq, time, disks));
            var draft = new RestorePointDraft { Name = "m", Uuid = _machine.Value, Time = time, Disks = drafts };
            await run.CommitAsync(draft, Token);
        }

        private MissedChanges Find(string disk, long seq, DateTimeOffset time)
        {
            var after = random.Next(3) == 0 ? 0 : random.NextInt64(Math.Max(0, seq - 6), seq);
            foreach (var run in _runs.Where(run => run.Seq > after && run.Disks.Contains(disk, StringComparer.Ordinal)))
                _doubted.Add((run.Time, disk));
            _log.Add($"found {disk} after {after}");
            var good = _runs.FirstOrDefault(run => run.Seq == after);
            return new MissedChanges(after, seq, good.Seq == 0 ? null : good.Time, time);
        }

        private async Task ForgetAsync(RepositorySession where, IReadOnlyList<PointInfo> points, IReadOnlyList<string> disks, string what)
        {
            _log.Add($"{what}: {string.Join(" ", points.Select(point => point.Seq))} {string.Join(" ", disks)}");
            await new RepositoryCare(where, TimeProvider.System).ForgetAsync(
                points.DistinctBy(point => point.Id).ToList(), disks, Token);
        }

        private async Task UndoAsync()
        {
            var care = new RepositoryCare(here, TimeProvider.System);
            var deleted = await care.DeletedAsync(Token);
            if (deleted.Count == 0)
                return;
            var chosen = deleted[random.Next(deleted.Count)];
            _log.Add($"undo {chosen.Seq}");
            await care.UndoAsync(chosen, Token);
        }

        // There, all is known of a point that is here or was doubted by a point that is here.
        private async Task CopyAsync(IReadOnlyList<PointInfo> chosen)
        {
            _log.Add($"copy {string.Join(" ", chosen.Select(point => point.Seq))}");
            var present = await here.PointsOfAsync(_machine.Value, Token);
            await CopyRun.RunAsync(here, there, chosen, _ => { }, Token);
            foreach (var (seq, time, disks) in _runs)
            {
                foreach (var disk in disks.Where(disk => _doubted.Contains((time, disk))))
                {
                    if (present.Any(point => point.Disks.Any(other => other.Name == disk
                        && (point.Time == time || other.Missed?.Any(range => range.After < seq && seq < range.Before) == true))))
                        _knownThere.Add((time, disk));
                }
            }
        }

        private async Task CheckAsync(
            RepositorySession where, HashSet<(DateTimeOffset, string)> must, HashSet<(DateTimeOffset, string)> may)
        {
            // A program that starts now, with nothing in memory.
            await using var fresh = await RepositorySession.OpenAsync(where.Url, new RepositoryAccess(null, null), Token);
            foreach (var point in (await fresh.PointsAsync(Token)).Points)
            {
                foreach (var disk in point.Disks)
                {
                    var key = (point.Time, disk.Name);
                    Assert.True(
                        disk.Doubt is not null ? may.Contains(key) : !must.Contains(key),
                        $"{disk.Name} of {point.Seq}, {point.Time:s}: {disk.Doubt}\n{string.Join("\n", _log)}");
                    DoubtedChecks += disk.Doubt is null ? 0 : 1;
                }
            }
        }
    }
}
