// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Native;
using Tidemark.Libvirt;

namespace Tidemark.Engine.Machines.OfflineAdapter;

/// <summary>
/// What was true of a stopped machine when its backup began, and must be true at its end: it is off, it is defined as it was, nobody
/// has its images open for writing, and nobody wrote to them or to its other files.
/// </summary>
internal sealed class OfflineEvidence
{
    private static readonly TimeSpan ReopenPatience = TimeSpan.FromSeconds(20);

    private readonly IHypervisor _hypervisor;
    private readonly Domain _domain;
    private readonly Machine _machine;
    private readonly string _definition;
    private readonly IReadOnlyList<string> _images;
    private readonly IReadOnlyList<FileStamp> _stamps;

    private OfflineEvidence(
        IHypervisor hypervisor,
        Domain domain,
        Machine machine,
        string definition,
        IReadOnlyList<string> images,
        IReadOnlyList<FileStamp> stamps)
    {
        _hypervisor = hypervisor;
        _domain = domain;
        _machine = machine;
        _definition = definition;
        _images = images;
        _stamps = stamps;
    }

    /// <summary>Takes it, of these images and of all files that belong to the machine.</summary>
    /// <exception cref="EngineException">The machine is not off, or an image is being written.</exception>
    public static async Task<OfflineEvidence> TakeAsync(
        IHypervisor hypervisor, Domain domain, Machine machine, IEnumerable<string> images, CancellationToken cancellationToken)
    {
        var files = images.Distinct(StringComparer.Ordinal).ToList();
        var definition = await hypervisor.DefinitionAsync(machine, cancellationToken);
        try
        {
            var all = files.Concat(definition.Files.Select(file => file.Path)).Distinct(StringComparer.Ordinal).ToList();
            var stamps = await FileStamp.SettledAsync(all, cancellationToken);
            var evidence = new OfflineEvidence(hypervisor, domain, machine, Text(definition), files, stamps);
            return await evidence.WhyVoidAsync(cancellationToken) is { } reason ? throw EngineException.Failed(reason) : evidence;
        }
        catch (IOException e)
        {
            throw EngineException.Failed($"Machine '{machine.Name}' is off and cannot be read: {e.Message}", inner: e);
        }
    }

    /// <summary>What is not as it was, as a sentence; null when all is.</summary>
    public async Task<string?> WhyVoidAsync(CancellationToken cancellationToken)
    {
        // The state after the stamps: a start between the two looks would else be seen by neither.
        var changed = WhatChanged();
        try
        {
            await _domain.Connection.ReopenAsync(ReopenPatience, cancellationToken); // the daemon may have been restarted
            if ((await _domain.GetStatusAsync(cancellationToken)).IsActive)
                return Started(_machine.Name);
            if (changed is not null)
                return changed;
            return Text(await _hypervisor.DefinitionAsync(_machine, cancellationToken)) == _definition
                ? null
                : $"Machine '{_machine.Name}' was defined anew during its backup; the run is void.";
        }
        catch (LibvirtNotFoundException)
        {
            return $"Machine '{_machine.Name}' is gone from the hypervisor; the run is void.";
        }
    }

    public static string Started(string machine) => $"Machine '{machine}' was started during its backup; the run is void.";

    private string? WhatChanged()
    {
        try
        {
            if (_stamps.FirstOrDefault(stamp => FileStamp.Read(stamp.Path) != stamp) is { } other)
                return $"File '{other.Path}' of '{_machine.Name}' was changed during its backup; the run is void.";
            return _images.FirstOrDefault(FileStamp.IsOpenForWriting) is { } open
                ? $"Image '{open}' of '{_machine.Name}' is open for writing in another program; the run is void."
                : null;
        }
        catch (IOException e)
        {
            return $"The files of '{_machine.Name}' changed during its backup: {e.Message.TrimEnd('.')}; the run is void.";
        }
    }

    private static string Text(MachineDefinition definition) =>
        definition.Xml + '\n' + string.Join('\n', definition.Files.Select(file => file.Path).Order(StringComparer.Ordinal));
}
