// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// Where a machine's checkpoint records are kept besides its restore points: this host's state folder, and a folder that hosts share, if
/// there is one. They only tell how to describe a checkpoint to a hypervisor that forgot it; the base of a backup is none of their
/// business. So a home that cannot be read or written is a warning, never a failure.
/// </summary>
public sealed class RecordHomes
{
    private readonly IReadOnlyList<RecordFile> _files;

    /// <param name="folders">This host's folders.</param>
    /// <param name="shared">A folder that hosts share; null for none.</param>
    /// <param name="machineUuid">The machine.</param>
    public RecordHomes(HostFolders folders, string? shared, string machineUuid) =>
        _files = (shared is null ? [folders.Checkpoints] : (string[])[folders.Checkpoints, shared])
            .Select(folder => new RecordFile(folder, machineUuid)).ToList();

    /// <summary>All records that any home has, this host's own word first; what cannot be read is told.</summary>
    public async Task<IReadOnlyList<CheckpointRecord>> ReadAsync(Action<string> tell, CancellationToken cancellationToken)
    {
        var records = new Dictionary<string, CheckpointRecord>(StringComparer.Ordinal);
        foreach (var file in _files)
        {
            foreach (var record in (await TryReadAsync(file, tell, cancellationToken))?.Checkpoints ?? [])
                records.TryAdd(record.Name, record);
        }

        return [.. records.Values];
    }

    /// <summary>Writes into every home what there is now; what goes wrong is told.</summary>
    public async Task WriteAsync(
        Machine machine,
        IReadOnlyList<CheckpointRecord> known,
        IReadOnlyList<CheckpointRecord> own,
        string? current,
        string? definition,
        Action<string> tell,
        CancellationToken cancellationToken)
    {
        foreach (var file in _files)
        {
            // What cannot be used is replaced, and was told of when the run began.
            var earlier = await TryReadAsync(file, _ => { }, cancellationToken);
            try
            {
                file.Write(MachineCheckpoints.Of(machine, known, own, earlier, current, definition));
            }
            catch (EngineException e)
            {
                tell(e.Message);
            }
        }
    }

    private static async Task<MachineCheckpoints?> TryReadAsync(
        RecordFile file, Action<string> tell, CancellationToken cancellationToken)
    {
        try
        {
            return await file.ReadAsync(cancellationToken);
        }
        catch (EngineException e)
        {
            tell(e.Message);
            return null;
        }
    }
}
