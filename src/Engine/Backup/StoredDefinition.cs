// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Backup;

/// <summary>What makes a machine besides its disks: its definition, and its small files as a run has stored them.</summary>
internal sealed record StoredDefinition(string Xml, IReadOnlyList<FileResult> Files, IReadOnlyList<string> Warnings)
{
    /// <summary>Reads the definition as it is now and stores the files that it names.</summary>
    public static async Task<StoredDefinition> TakeAsync(
        IHypervisor hypervisor, Machine machine, Storage.BackupRun run, CancellationToken cancellationToken)
    {
        for (var again = true; ; again = false)
        {
            var definition = await hypervisor.DefinitionAsync(machine, cancellationToken);
            try
            {
                var files = new List<FileResult>();
                foreach (var file in definition.Files)
                {
                    await using var content = File.OpenRead(file.Path);
                    files.Add(await run.StoreFileAsync($"{file.Role}/{file.Name}", content, cancellationToken));
                }

                return new StoredDefinition(definition.Xml, files, definition.Warnings);
            }
            catch (FileNotFoundException) when (again)
            {
                // A TPM's state is replaced by renaming another file onto it, and may have had that one's name: it is looked for once more.
            }
        }
    }
}
