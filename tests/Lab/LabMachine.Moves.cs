// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Libvirt;

namespace Tidemark.Lab;

/// <summary>The machine goes elsewhere, or comes back from a state in which it did not run.</summary>
public sealed partial class LabMachine
{
    /// <summary>
    /// Moves the running machine to another host on shared storage. Until it ran there its images are not opened for writing, so it
    /// runs for a moment; its firmware finds nothing to boot.
    /// </summary>
    /// <param name="target">The other host.</param>
    /// <param name="forget">The host it leaves undefines it; otherwise the definition stays, with the records of its checkpoints.</param>
    /// <param name="copies">Images to copy to there, by disk, which exist with the right size; null where storage is shared.</param>
    /// <param name="staysPaused">It is left as it arrives: paused, its images not taken over yet.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    public async Task MigrateAsync(
        LabHost target,
        bool forget = true,
        IReadOnlyDictionary<string, string>? copies = null,
        bool staysPaused = false,
        CancellationToken cancellationToken = default)
    {
        var folder = target.CreateFolder($"m{Path.GetRandomFileName()[..4]}");
        // Sockets instead of ports: hosts on one machine would take each other's.
        List<string> arguments =
        [
            "migrate", "--live", "--unsafe", "--persistent", Name, "--desturi", target.Uri, "--migrateuri", $"unix://{folder}/m",
        ];
        if (forget)
            arguments.Add("--undefinesource");
        if (copies is not null)
        {
            var definition = Path.Combine(folder, "xml");
            await File.WriteAllTextAsync(definition, await MovedXmlAsync(copies, cancellationToken), cancellationToken);
            arguments.AddRange(
                ["--copy-storage-all", "--disks-uri", $"unix://{folder}/d", "--xml", definition, "--persistent-xml", definition]);
        }

        await VirshAsync(arguments, cancellationToken);
        var uuid = Domain.Uuid;
        Host = target;
        Domain = await target.Connection.GetDomainAsync(uuid, cancellationToken);
        foreach (var (disk, path) in copies ?? new Dictionary<string, string>(StringComparer.Ordinal))
            _disks[disk] = (_disks[disk].Disk, path);
        if (staysPaused)
            return;
        await Domain.ResumeAsync(cancellationToken);
        await Domain.SuspendAsync(cancellationToken);
    }

    /// <summary>Undefines the stopped machine and defines it again: libvirt has lost every record of a checkpoint.</summary>
    public async Task DefineAnewAsync(CancellationToken cancellationToken = default)
    {
        var xml = await Domain.GetXmlAsync(DomainXmlFlags.Inactive, cancellationToken);
        await Domain.UndefineAsync(DomainUndefineFlags.CheckpointsMetadata, cancellationToken);
        Domain = await Host.Connection.DefineDomainAsync(xml, cancellationToken: cancellationToken);
    }

    /// <summary>Makes another image the topmost one of a disk of the stopped machine; what lies below is read from the image.</summary>
    public async Task PutImageAsync(string target, string path, CancellationToken cancellationToken = default)
    {
        var document = XDocument.Parse(await Domain.GetXmlAsync(DomainXmlFlags.Inactive, cancellationToken));
        var disk = document.Descendants("disk").Single(candidate => (string?)candidate.Element("target")?.Attribute("dev") == target);
        disk.Element("source")!.SetAttributeValue("file", path);
        disk.Element("backingStore")?.Remove();
        Domain = await Host.Connection.DefineDomainAsync(document.ToString(), cancellationToken: cancellationToken);
    }

    /// <summary>The same stopped machine, on the same images, as another host has it: nothing but its definition is known there.</summary>
    public async Task<LabMachine> DefineOnAsync(LabHost other, CancellationToken cancellationToken = default) =>
        await DefineOnAsync(other, await Domain.GetXmlAsync(DomainXmlFlags.Inactive, cancellationToken), cancellationToken);

    /// <inheritdoc cref="DefineOnAsync(LabHost, CancellationToken)"/>
    /// <param name="other">The other host.</param>
    /// <param name="definition">What it is defined from there.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<LabMachine> DefineOnAsync(LabHost other, string? definition, CancellationToken cancellationToken = default)
    {
        var machine = new LabMachine(other, Name);
        foreach (var (target, disk) in _disks)
            machine._disks.Add(target, disk);
        machine.Domain = await other.Connection.DefineDomainAsync(
            definition ?? throw new ArgumentNullException(nameof(definition)), cancellationToken: cancellationToken);
        return machine;
    }

    /// <summary>Stores the machine's memory, ends QEMU and goes on from there.</summary>
    public async Task SaveAndRestoreAsync(CancellationToken cancellationToken = default)
    {
        await VirshAsync(["managedsave", Name], cancellationToken);
        await Domain.StartAsync(DomainStartFlags.Paused, cancellationToken);
        await Domain.ResumeAsync(cancellationToken);
        await Domain.SuspendAsync(cancellationToken);
    }

    private async Task<string> MovedXmlAsync(IReadOnlyDictionary<string, string> copies, CancellationToken cancellationToken)
    {
        var document = XDocument.Parse(await Domain.GetXmlAsync(DomainXmlFlags.Inactive, cancellationToken));
        foreach (var disk in document.Descendants("disk"))
        {
            if (copies.TryGetValue((string)disk.Element("target")!.Attribute("dev")!, out var path))
                disk.Element("source")!.SetAttributeValue("file", path);
        }

        return document.ToString();
    }
}
