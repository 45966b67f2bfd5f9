// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Native;
using Tidemark.Engine.Restore.Definitions;

namespace Tidemark.Engine.Restore;

/// <summary>A file of a restore point, read whole: NVRAM, TPM state, kernel, initrd, device tree.</summary>
internal sealed record StoredFile(string Role, string Name, byte[] Content);

/// <summary>
/// Defines a machine from a restore point. All that can be refused is refused in <see cref="PrepareAsync"/>, before a byte is
/// restored; <see cref="DefineAsync"/> then writes the small files and defines, and takes the files back when that fails.
/// </summary>
internal sealed class MachineDefiner
{
    private readonly IHypervisor _hypervisor;
    private readonly XDocument _document;
    private readonly IReadOnlyList<StoredFile> _files;
    private readonly IReadOnlyDictionary<string, string> _paths;
    private readonly Guid _uuid;

    private MachineDefiner(
        IHypervisor hypervisor,
        XDocument document,
        IReadOnlyList<StoredFile> files,
        IReadOnlyDictionary<string, string> paths,
        Guid uuid,
        string name,
        IReadOnlyList<string> notes)
    {
        _hypervisor = hypervisor;
        _document = document;
        _files = files;
        _paths = paths;
        _uuid = uuid;
        Name = name;
        Notes = notes;
    }

    public string Name { get; }

    public string Uuid => _uuid.ToString("d");

    /// <summary>What the definition lost on the way, one sentence each.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <exception cref="EngineException">The name or UUID is taken, or the definition asks for what it may not have.</exception>
    public static async Task<MachineDefiner> PrepareAsync(
        IHypervisor hypervisor,
        string xml,
        (string Name, Guid Uuid) original,
        IReadOnlyList<StoredFile> files,
        IReadOnlyDictionary<string, RestoredDisk> disks,
        RestoreOptions options,
        CancellationToken cancellationToken)
    {
        var isNew = options.Name is not null;
        var name = options.Name ?? original.Name;
        var uuid = isNew ? Guid.NewGuid() : original.Uuid;
        await RefuseTakenAsync(hypervisor, name, uuid, cancellationToken);
        var folder = options.Folder ?? Path.GetDirectoryName(disks.Values.FirstOrDefault(disk => !disk.IsBlock)?.Path);
        if (folder is null && files.Any(file => file.Role != "tpm"))
            throw EngineException.Usage("The machine has NVRAM or boot files, which need a folder.", "give --to FOLDER");
        var paths = files.Where(file => file.Role != "tpm").ToDictionary(
            file => file.Role,
            file => Path.Combine(folder!, $"{FileNames.Safe(name)}-{file.Role}-{FileNames.Safe(file.Name)}"),
            StringComparer.Ordinal);

        var document = DefinitionRewriter.Parse(xml);
        var notes = DefinitionRewriter.Rewrite(document, new DefinitionChanges
        {
            Name = name,
            Uuid = uuid,
            NewIdentity = isNew,
            Disks = disks,
            Files = paths,
        });
        var own = disks.Values.Select(disk => disk.Path).Concat(paths.Values).ToHashSet(StringComparer.Ordinal);
        var refused = options.TrustDefinition ? [] : DefinitionAllowList.Refused(document, own);
        if (refused.Count > 0)
        {
            throw EngineException.Failed(
                $"The definition of '{original.Name}' asks this host for things that nobody looked at: {string.Join("; ", refused)}.",
                "if you know where this restore point comes from, add --trust-definition");
        }

        foreach (var path in paths.Values.Where(path => File.Exists(path) && !options.Force))
            throw EngineException.Failed($"File '{path}' exists; nothing was written.", "add --force to replace it");
        return new MachineDefiner(hypervisor, document, files, paths, uuid, name, notes);
    }

    public async Task DefineAsync(CancellationToken cancellationToken)
    {
        var written = new List<string>();
        try
        {
            foreach (var file in _files)
            {
                var path = file.Role == "tpm" ? TpmPath(file.Name) : _paths[file.Role];
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                File.Delete(path);
                FileCalls.CreatePrivate(path, Path.GetDirectoryName(path)!);
                written.Add(path);
                await File.WriteAllBytesAsync(path, file.Content, cancellationToken);
            }

            await _hypervisor.DefineAsync(_document.ToString(), cancellationToken);
        }
        catch
        {
            foreach (var path in written)
                File.Delete(path);
            throw;
        }
    }

    private string TpmPath(string name)
    {
        var folder = _hypervisor.TpmFolder(Uuid);
        var path = Path.GetFullPath(Path.Combine(folder, name));
        return path.StartsWith(folder + "/", StringComparison.Ordinal)
            ? path
            : throw EngineException.Failed($"The restore point names a TPM file outside its folder: '{name}'.");
    }

    private static async Task RefuseTakenAsync(IHypervisor hypervisor, string name, Guid uuid, CancellationToken cancellationToken)
    {
        if (await hypervisor.FindAsync(name, cancellationToken) is not null)
            throw EngineException.Failed($"The hypervisor has a machine '{name}' already; nothing was written.", "--name NEW");
        if (await hypervisor.FindAsync(uuid.ToString("d"), cancellationToken) is { } other)
        {
            throw EngineException.Failed(
                $"The hypervisor has a machine with this UUID already, '{other.Name}'; nothing was written.", "--name NEW");
        }
    }
}
