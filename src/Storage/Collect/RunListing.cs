// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>A run object as listed, with when its run last gave a sign of life by the store's clock.</summary>
internal sealed record ListedRun(string Key, WriterId Writer, string Machine, RunId Id)
{
    /// <summary>When the run object or its newest heartbeat was stored.</summary>
    public DateTimeOffset LastSeen { get; set; }

    /// <summary>A reader's <c>.end</c> is there.</summary>
    public bool HasEnd { get; set; }

    /// <summary>Heartbeats and end.</summary>
    public List<string> Companions { get; } = [];

    public bool IsCollector => Machine == ObjectNames.CollectorMachine;
}

/// <summary>The run objects of a repository, or of one writer.</summary>
internal static class RunListing
{
    public static async Task<IReadOnlyList<ListedRun>> ReadAsync(IObjectStore store, WriterId? writer, CancellationToken cancellationToken)
    {
        var runs = new Dictionary<string, ListedRun>(StringComparer.Ordinal);
        var companions = new List<(string Run, string Suffix, ObjectInfo Info)>();
        var prefix = writer is null ? ObjectNames.Runs : $"{ObjectNames.Runs}{writer}/";
        await foreach (var info in store.ListAsync(prefix, cancellationToken))
        {
            if (ObjectNames.ParseRun(info.Key) is not { } name || !TryWriter(name.Writer, out var by))
                continue;
            if (name.Suffix is null)
                runs[info.Key] = new ListedRun(info.Key, by, name.Machine, name.Run) { LastSeen = info.Modified };
            else
                companions.Add((info.Key[..^(name.Suffix.Length + 1)], name.Suffix, info));
        }

        foreach (var (key, suffix, info) in companions)
        {
            if (!runs.TryGetValue(key, out var run))
                continue;
            run.Companions.Add(info.Key);
            run.HasEnd |= suffix == "end";
            run.LastSeen = info.Modified > run.LastSeen ? info.Modified : run.LastSeen;
        }

        return [.. runs.Values.OrderBy(run => run.Key, StringComparer.Ordinal)];
    }

    /// <summary>What a run announced: whether its object is still there, and what it says, or null when it is not what a run
    /// announces.</summary>
    public static async ValueTask<(bool IsThere, RunDocument? Document)> ReadDocumentAsync(
        RepositoryContext context, ListedRun run, CancellationToken cancellationToken)
    {
        try
        {
            return await context.ReadSealedAsync(run.Key, cancellationToken) is { } plain
                ? (true, FormatJson.Read(plain, FormatJson.Default.RunDocument))
                : (false, null);
        }
        catch (Exception failure) when (failure is RepositoryDamagedException or JsonException)
        {
            return (true, null);
        }
    }

    private static bool TryWriter(string text, out WriterId writer)
    {
        var valid = text.Length == 2 * WriterId.Size && text.All(char.IsAsciiHexDigitLower);
        writer = valid ? WriterId.Parse(text) : default;
        return valid;
    }
}
