// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>Whether the repository opens, takes writes of this host, and keeps the same time.</summary>
public static class RepositoryChecks
{
    private const string Repository = "repository";

    /// <summary>Clocks that differ by less do no harm; a bucket refuses requests from 15 minutes on.</summary>
    private static readonly TimeSpan ClockTolerance = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan Stale = TimeSpan.FromDays(7);

    public static IEnumerable<Finding> Judge(RepositoryFacts facts)
    {
        if (facts.Failure is { } failure)
            return [Finding.Problem(Repository, failure, facts.Hint)];
        var opened = string.Create(
            CultureInfo.InvariantCulture,
            $"It opens: {facts.Points} restore points of {facts.Newest.Count} machines, "
                + $"{(facts.IsEncrypted ? "encrypted" : "not encrypted")}.");
        return JudgeWriting(facts)
            .Concat(facts.Damaged.Select(sentence => Finding.Problem(Repository, sentence, "tidemark verify")))
            .Concat(JudgeClock(facts))
            .Prepend(Finding.Ok(Repository, opened));
    }

    /// <summary>How old a machine's newest point is.</summary>
    public static Finding JudgeAge(RepositoryFacts facts, MachineName machine)
    {
        var subject = $"machine '{machine.Name}'";
        if (!facts.Newest.TryGetValue(machine.Uuid, out var newest))
            return Finding.Warning(subject, "It has no restore point in this repository.", $"tidemark backup {machine.Name}");
        var age = facts.Now - newest.Time;
        var sentence = string.Create(
            CultureInfo.InvariantCulture,
            $"Its newest restore point is {Describe(age)} old ({newest.Time.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC).");
        return age > Stale ? Finding.Warning(subject, sentence, $"tidemark backup {machine.Name}") : Finding.Ok(subject, sentence);
    }

    private static IEnumerable<Finding> JudgeWriting(RepositoryFacts facts)
    {
        if (facts.IsMaintenanceKey)
            yield return Finding.Warning(
                Repository, "The key that opens it is of role 'maintenance'; it can make no backup.", "--key-file of a full key");
        if (facts.UnknownWriteFeature is { } write)
            yield return Finding.Problem(Repository, $"It needs feature '{write}' for backups, which this program does not know.",
                "use the newer version of tidemark");
        if (facts.UnknownCollectFeature is { } collect)
            yield return Finding.Note(Repository, $"This program gives no space back here: feature '{collect}' is needed for that.");
        if (facts.SingleWriter is { } single)
            yield return single == facts.Writer
                ? Finding.Note(Repository, "It was made for a single writer, this host; others can restore from it.")
                : Finding.Problem(
                    Repository, $"It was made for a single writer, '{single}'; this host, '{facts.Writer}', can only restore from it.");
        if (facts.WriteFailure is { } failure)
            yield return Finding.Problem(Repository, $"This host cannot write to it: {failure.TrimEnd('.')}.");
        else if (facts.WasWriteTried)
            yield return Finding.Ok(Repository, "This host can write to it.");
        else
            yield return Finding.Note(Repository, "Whether this host may write to it shows only with the first backup.");
        yield return Finding.Ok(
            Repository, $"This host is writer '{facts.Writer}': a store policy may limit its packs to 'packs/{facts.Writer}/*'.");
        if (facts.FreeBytes is { } free && free < 1L << 30)
            yield return Finding.Warning(Repository, $"Only {free >> 20} MiB are free where it lies.", "tidemark gc");
    }

    private static IEnumerable<Finding> JudgeClock(RepositoryFacts facts)
    {
        const string Mend = "timedatectl set-ntp true";
        var findings = new List<Finding>();
        if (facts.StoreNow is { } store && (facts.Now - store).Duration() > ClockTolerance)
            findings.Add(Finding.Warning(
                Repository, $"This host's clock is {Describe((facts.Now - store).Duration())} "
                    + $"{(facts.Now > store ? "ahead of" : "behind")} the store's.", Mend));
        foreach (var newest in facts.Newest.Values.OrderBy(point => point.Machine, StringComparer.Ordinal))
        {
            if (newest.Stored - facts.Now > ClockTolerance)
                findings.Add(Finding.Warning(
                    Repository,
                    $"The store got the newest point of '{newest.Machine}' {Describe(newest.Stored - facts.Now)} from now, by its "
                        + "clock: that clock, "
                    + "or this host's, was changed.", Mend));
            else if (newest.Time - newest.Stored > ClockTolerance)
                findings.Add(Finding.Warning(
                    Repository,
                    $"The newest point of '{newest.Machine}' is {Describe(newest.Time - newest.Stored)} younger than when the store "
                        + "got it: the "
                    + $"clock of host '{newest.Host}' is ahead.", Mend));
        }

        return findings.Count > 0 || facts.StoreNow is null
            ? findings
            : [Finding.Ok(Repository, "This host's clock and the store's agree.")];
    }

    private static string Describe(TimeSpan time) => time switch
    {
        { TotalDays: >= 2 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalDays:0} days"),
        { TotalHours: >= 2 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalHours:0} hours"),
        { TotalMinutes: >= 2 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMinutes:0} minutes"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, time.TotalSeconds):0} seconds"),
    };
}
