// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Xml.Linq;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Lab;

/// <summary>
/// A machine without an operating system, started paused: nothing writes to its disks but the test, through QEMU, which tracks these
/// writes as it does a guest's. Its host ends it.
/// </summary>
public sealed partial class LabMachine
{
    private static readonly TimeSpan DeathPatience = TimeSpan.FromSeconds(20);

    private readonly Dictionary<string, (LabDisk Disk, string ImagePath)> _disks = new(StringComparer.Ordinal);

    private LabMachine(LabHost host, string name)
    {
        Host = host;
        Name = name;
    }

    /// <summary>The host it is on now.</summary>
    public LabHost Host { get; private set; }

    public string Name { get; }

    public Domain Domain { get; private set; } = null!;

    /// <summary>Targets in the order they were given.</summary>
    public IEnumerable<string> Disks => _disks.Keys;

    /// <summary>Process id of its QEMU.</summary>
    public int ProcessId => Host.MachineProcessId(Name);

    /// <summary>Creates the images that have a size and do not exist, defines the machine and starts it paused.</summary>
    public static Task<LabMachine> DefineAsync(LabHost host, string name, params LabDisk[] disks) =>
        DefineAsync(host, name, new LabMachineOptions(), disks);

    /// <inheritdoc cref="DefineAsync(LabHost, string, LabDisk[])"/>
    public static async Task<LabMachine> DefineAsync(
        LabHost host, string name, LabMachineOptions options, IReadOnlyList<LabDisk> disks, CancellationToken cancellationToken = default)
    {
        var machine = new LabMachine(host, name);
        foreach (var disk in disks)
            await machine.AddImageAsync(disk, cancellationToken);
        machine.Domain = await host.Connection.DefineDomainAsync(machine.ToXml(options).ToString(), cancellationToken: cancellationToken);
        if (options.Start)
            await machine.StartAsync(cancellationToken);
        return machine;
    }

    /// <summary>The image it was defined with; snapshots put others on top of it.</summary>
    public string ImagePath(string target) => _disks[target].ImagePath;

    /// <summary>Starts it paused: no firmware runs, no disk is touched.</summary>
    public Task StartAsync(CancellationToken cancellationToken = default) => Domain.StartAsync(DomainStartFlags.Paused, cancellationToken);

    /// <summary>Ends QEMU in order: bitmaps are stored.</summary>
    public Task StopAsync(CancellationToken cancellationToken = default) => Domain.DestroyAsync(cancellationToken);

    /// <summary>Ends QEMU with SIGKILL, as a crash of the host would, and waits until libvirt has seen it.</summary>
    public async Task KillAsync(CancellationToken cancellationToken = default)
    {
        Posix.Signal(ProcessId, Posix.SigKill);
        var clock = TimeProvider.System.GetTimestamp();
        while ((await Domain.GetStatusAsync(cancellationToken)).IsActive)
        {
            if (TimeProvider.System.GetElapsedTime(clock) > DeathPatience)
                throw new TimeoutException($"libvirt did not notice the death of '{Name}'.");
            await Task.Delay(20, cancellationToken);
        }
    }

    /// <summary>QEMU answers nothing any more, as when its storage hangs, until it is let go on.</summary>
    public void Halt() => Posix.Signal(ProcessId, Posix.SigStop);

    /// <summary>Ends <see cref="Halt"/>.</summary>
    public void GoOn() => Posix.Signal(ProcessId, Posix.SigContinue);

    /// <summary>Adds a disk to the running machine and to its definition.</summary>
    public async Task AttachAsync(LabDisk disk, CancellationToken cancellationToken = default)
    {
        await AddImageAsync(disk, cancellationToken);
        await Domain.AttachDeviceAsync(
            disk.ToXml(ImagePath(disk.Target)).ToString(), DomainAffect.Live | DomainAffect.Configuration, cancellationToken);
    }

    public Task ResizeAsync(string target, long bytes, CancellationToken cancellationToken = default) =>
        Domain.ResizeBlockAsync(target, bytes, cancellationToken);

    public async Task<DomainDescription> DescribeAsync(CancellationToken cancellationToken = default) =>
        DomainDescription.Parse(await Domain.GetXmlAsync(cancellationToken: cancellationToken));

    /// <summary>Sends a QMP command and returns what it returned; libvirt throws on a QMP error object here.</summary>
    public async Task<JsonElement> QmpAsync(string json, CancellationToken cancellationToken = default)
    {
        var reply = await Domain.QemuMonitorCommandAsync(json, cancellationToken: cancellationToken);
        using var document = JsonDocument.Parse(reply);
        return document.RootElement.TryGetProperty("return", out var result)
            ? result.Clone()
            : throw new InvalidOperationException($"QEMU refused {json}: {reply}");
    }

    private async Task AddImageAsync(LabDisk disk, CancellationToken cancellationToken)
    {
        var path = disk.Uri ?? disk.Path ?? Path.Combine(Host.Folder, $"{Name}-{disk.Target}.{disk.Format}");
        if (disk.Size is { } size && !disk.IsBlockDevice && disk.Nbd == null && !File.Exists(path))
        {
            string[] options = disk.CreateOptions == null ? [] : ["-o", disk.CreateOptions];
            await Tool.RunAsync("qemu-img", ["create", "-q", "-f", disk.Format, .. options, path, size.ToString()], cancellationToken);
            Host.GiveToQemu(path);
        }
        _disks.Add(disk.Target, (disk, path));
    }

    private XElement ToXml(LabMachineOptions options)
    {
        var devices = new XElement(
            "devices",
            new XElement("emulator", Tool.Find("qemu-system-x86_64")),
            _disks.Values.Select(entry => entry.Disk.ToXml(entry.ImagePath)),
            new XElement("controller", new XAttribute("type", "usb"), new XAttribute("model", "none")),
            new XElement("memballoon", new XAttribute("model", "none")));
        if (options.AgentChannel)
        {
            devices.Add(new XElement(
                "channel",
                new XAttribute("type", "unix"),
                new XElement("target", new XAttribute("type", "virtio"), new XAttribute("name", "org.qemu.guest_agent.0"))));
        }
        devices.Add(options.Devices);
        return new XElement(
            "domain",
            new XAttribute("type", "qemu"),
            new XElement("name", Name),
            new XElement("memory", new XAttribute("unit", "MiB"), options.MemoryMiB),
            new XElement("vcpu", 1),
            // Unlike q35, this machine type takes new disks without a free port prepared.
            new XElement(
                "os", new XElement("type", new XAttribute("arch", "x86_64"), new XAttribute("machine", "pc"), "hvm"), options.Boot),
            new XElement("features", new XElement("acpi")),
            devices);
    }
}

/// <summary>What a machine has besides its disks.</summary>
public sealed record LabMachineOptions
{
    public int MemoryMiB { get; init; } = 64;

    public bool Start { get; init; } = true;

    /// <summary>With the channel of a guest agent, which nobody answers.</summary>
    public bool AgentChannel { get; init; }

    /// <summary>More elements for &lt;devices&gt;.</summary>
    public IReadOnlyList<XElement> Devices { get; init; } = [];

    /// <summary>More elements for &lt;os&gt;: kernel, initrd, cmdline.</summary>
    public IReadOnlyList<XElement> Boot { get; init; } = [];
}
