// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The journal of this host: one file a run, replaced atomically (write beside, fsync, rename, fsync of the folder), so that
/// a crash at any byte leaves the entry before or the entry after.
/// </summary>
public sealed class Journal(HostFolders folders)
{
    public string FileOf(Guid run) => Path.Combine(folders.Journal, $"{run:n}.json");

    public async Task WriteAsync(JournalEntry entry, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folders.Journal, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var file = FileOf(entry.Run);
        // One name a machine, whose lock the writer holds: what a death leaves of it is replaced by the next entry.
        var beside = Path.Combine(folders.Journal, $"{entry.MachineUuid}.new");
        try
        {
            await using (var stream = new FileStream(beside, FileMode.Create, FileAccess.Write))
            {
                await stream.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(entry, JournalJson.Default.JournalEntry), cancellationToken);
                stream.Flush(flushToDisk: true);
            }

            File.Move(beside, file, overwrite: true);
        }
        catch
        {
            File.Delete(beside);
            throw;
        }

        FileCalls.SyncFolder(folders.Journal);
    }

    public void Remove(Guid run)
    {
        File.Delete(FileOf(run));
        FileCalls.SyncFolder(folders.Journal);
    }

    /// <summary>The entry of a run; null when there is none (any more).</summary>
    public async Task<JournalEntry?> ReadAsync(Guid run, CancellationToken cancellationToken)
    {
        try
        {
            var content = await File.ReadAllBytesAsync(FileOf(run), cancellationToken);
            return JsonSerializer.Deserialize(content, JournalJson.Default.JournalEntry);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (JsonException e)
        {
            throw EngineException.Failed($"Journal entry '{FileOf(run)}' cannot be read: {e.Message}", inner: e);
        }
    }

    /// <summary>All entries that concern a machine, oldest first.</summary>
    public async Task<IReadOnlyList<JournalEntry>> OfMachineAsync(string machineUuid, CancellationToken cancellationToken)
    {
        var entries = new List<JournalEntry>();
        if (!Directory.Exists(folders.Journal))
            return entries;
        foreach (var file in Directory.EnumerateFiles(folders.Journal, "*.json").Order(StringComparer.Ordinal))
        {
            if (Guid.TryParseExact(Path.GetFileNameWithoutExtension(file), "n", out var run)
                && await ReadAsync(run, cancellationToken) is { } entry
                && entry.MachineUuid == machineUuid)
                entries.Add(entry);
        }

        return entries;
    }
}
