// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Xml.Linq;

namespace Tidemark.Lab.Guests;

/// <summary>What the guest does after it has booted.</summary>
public enum GuestMode
{
    /// <summary>Mounts its disks (formatting empty ones) and waits.</summary>
    Idle,

    /// <summary>Writes, rewrites and deletes files without end; see <see cref="GuestLog"/>.</summary>
    Writer,

    /// <summary>Compares every file with its checksum, prints <c>CHECK OK files=N</c> or <c>CHECK BAD …</c>, and powers off.</summary>
    Check,
}

/// <summary>One disk of a guest, writable by the user that runs QEMU; format <c>raw</c> or <c>qcow2</c>.</summary>
public sealed record GuestDisk(string Path, string Format);

/// <summary>A machine that boots the lab guest: for libvirt as a domain document, for plain QEMU as arguments.</summary>
public sealed record GuestDefinition
{
    public required string Name { get; init; }

    public required GuestImage Image { get; init; }

    /// <summary>The disks in order: vda, vdb, ….</summary>
    public required IReadOnlyList<GuestDisk> Disks { get; init; }

    /// <summary>
    /// File that receives the serial console; begun anew at each start. Null: nobody listens, and the definition names no file of the host
    /// but its disks, kernel and initrd.
    /// </summary>
    public string? ConsoleLog { get; init; }

    public GuestMode Mode { get; init; } = GuestMode.Writer;

    /// <summary>A channel for the guest agent, which the guest starts when it finds one.</summary>
    public bool Agent { get; init; } = true;

    public int MemoryMiB { get; init; } = 256;

    /// <summary>Rest of the writer after each file, in milliseconds.</summary>
    public int PaceMilliseconds { get; init; } = 20;

    /// <summary>Files that the writer keeps; older ones are deleted.</summary>
    public int KeptFiles { get; init; } = 200;

    /// <summary>Files of 16 MiB that the writer begins an empty disk with.</summary>
    public int LargeFiles { get; init; }

    /// <summary>Seed of the writer's choices (not of the files' content).</summary>
    public int Seed { get; init; } = 1;

    /// <summary>In check mode: fewer files than this is a failure.</summary>
    public int ExpectedFiles { get; init; }

    private string CommandLine => string.Create(
        CultureInfo.InvariantCulture,
        $"console=ttyS0 quiet loglevel=1 panic=1 tidemark.mode={Mode.ToString().ToLowerInvariant()} tidemark.pace={PaceMilliseconds} "
        + $"tidemark.keep={KeptFiles} tidemark.seed={Seed} tidemark.bulk={LargeFiles} tidemark.expect={ExpectedFiles}");

    /// <summary>The libvirt domain document, software emulation.</summary>
    public string DomainXml() =>
        new XElement("domain", new XAttribute("type", "qemu"),
            new XElement("name", Name),
            new XElement("memory", new XAttribute("unit", "MiB"), MemoryMiB),
            new XElement("vcpu", 1),
            new XElement("os",
                new XElement("type", new XAttribute("arch", "x86_64"), new XAttribute("machine", "pc"), "hvm"),
                new XElement("kernel", Image.Kernel),
                new XElement("initrd", Image.Initrd),
                new XElement("cmdline", CommandLine)),
            new XElement("features", new XElement("acpi")),
            new XElement("cpu", new XAttribute("mode", "maximum")),
            new XElement("on_reboot", "destroy"),
            new XElement("on_crash", "destroy"),
            new XElement("devices",
                Disks.Select(DiskXml),
                ConsoleLog is null
                    ? new XElement("serial", new XAttribute("type", "pty"))
                    : new XElement("serial", new XAttribute("type", "file"), new XElement("source", new XAttribute("path", ConsoleLog))),
                Agent ? new XElement("channel", new XAttribute("type", "unix"),
                    new XElement("target", new XAttribute("type", "virtio"), new XAttribute("name", "org.qemu.guest_agent.0"))) : null,
                new XElement("controller", new XAttribute("type", "usb"), new XAttribute("model", "none")),
                new XElement("memballoon", new XAttribute("model", "none")))).ToString();

    /// <summary>Arguments for qemu-system-x86_64 with the same machine; sockets are made where paths are given.</summary>
    public IReadOnlyList<string> QemuArguments(string? agentSocket = null, string? qmpSocket = null)
    {
        List<string> arguments =
        [
            "-machine", "pc,accel=tcg", "-cpu", "max", "-m", $"{MemoryMiB}", "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", Image.Kernel, "-initrd", Image.Initrd, "-append", CommandLine,
            "-serial", ConsoleLog is null ? "null" : $"file:{ConsoleLog}",
        ];
        foreach (var (number, disk) in Disks.Index())
        {
            var format = disk.Format == "raw" ? "raw" : "qcow2";
            arguments.AddRange(
            [
                "-blockdev", $"driver={format},node-name=disk{number},discard=unmap,file.driver=file,file.discard=unmap,"
                    + $"file.filename={disk.Path.Replace(",", ",,", StringComparison.Ordinal)}",
                "-device", $"virtio-blk-pci,drive=disk{number},id=vd{(char)('a' + number)}",
            ]);
        }

        if (Agent && agentSocket is not null)
        {
            arguments.AddRange(
            [
                "-device", "virtio-serial-pci", "-chardev", $"socket,id=agent,path={agentSocket},server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            ]);
        }

        if (qmpSocket is not null)
            arguments.AddRange(["-qmp", $"unix:{qmpSocket},server=on,wait=off"]);
        return arguments;
    }

    private static XElement DiskXml(GuestDisk disk, int number) =>
        new("disk", new XAttribute("type", "file"), new XAttribute("device", "disk"),
            new XElement("driver", new XAttribute("name", "qemu"), new XAttribute("type", disk.Format), new XAttribute("discard", "unmap")),
            new XElement("source", new XAttribute("file", disk.Path)),
            new XElement("target", new XAttribute("dev", $"vd{(char)('a' + number)}"), new XAttribute("bus", "virtio")));
}
