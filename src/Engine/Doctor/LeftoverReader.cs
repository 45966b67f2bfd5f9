// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Doctor;

/// <summary>Reads what runs have left in the folders of this host.</summary>
internal sealed class LeftoverReader(HostFolders folders)
{
    public async Task<LeftoverFacts> ReadAsync(CancellationToken cancellationToken)
    {
        var entries = new List<LeftoverEntry>();
        var unseen = new List<string>();
        // The folders first: a run writes its journal entry before it makes its folder, and takes it away after.
        var found = FindFolders(unseen);
        var known = new HashSet<Guid>();
        var journal = new Journal(folders);
        foreach (var run in FindRuns(unseen))
        {
            known.Add(run);
            try
            {
                if (await journal.ReadAsync(run, cancellationToken) is { } entry)
                    entries.Add(new LeftoverEntry(entry, await IsDeadAsync(entry.MachineUuid, cancellationToken)));
            }
            catch (Exception e) when (e is EngineException or IOException or UnauthorizedAccessException)
            {
                unseen.Add($"Journal entry '{journal.FileOf(run)}' cannot be read: {e.Message}");
            }
        }

        return new LeftoverFacts
        {
            Entries = entries,
            StaleFolders = unseen.Count > 0 ? [] : found.Where(folder => !known.Contains(RunOf(folder))).ToList(),
            Unseen = unseen,
        };
    }

    // Who could take the machine's lock has proof that its runs are dead.
    private async Task<bool> IsDeadAsync(string machineUuid, CancellationToken cancellationToken)
    {
        using var machineLock = await MachineLock.TryTakeAsync(folders, machineUuid, TimeSpan.Zero, cancellationToken);
        return machineLock is not null;
    }

    private List<string> FindFolders(List<string> unseen) =>
        List(folders.Scratch, unseen, folder => Directory.EnumerateDirectories(folder)).Where(folder => RunOf(folder) != Guid.Empty)
            .ToList();

    private List<Guid> FindRuns(List<string> unseen) =>
        List(folders.Journal, unseen, folder => Directory.EnumerateFiles(folder, "*.json"))
            .Select(RunOf).Where(run => run != Guid.Empty).ToList();

    private static Guid RunOf(string path) =>
        Guid.TryParseExact(Path.GetFileNameWithoutExtension(path), "n", out var run) ? run : Guid.Empty;

    private static List<string> List(string folder, List<string> unseen, Func<string, IEnumerable<string>> entries)
    {
        try
        {
            return Directory.Exists(folder) ? entries(folder).Order(StringComparer.Ordinal).ToList() : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            unseen.Add($"Folder '{folder}' was not looked at: {e.Message}");
            return [];
        }
    }
}
