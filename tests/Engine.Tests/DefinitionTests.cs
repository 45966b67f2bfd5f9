// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Engine.Restore.Definitions;

namespace Tidemark.Engine.Tests;

/// <summary>A stored definition comes from somewhere else: what it may bring with it, and what it may not.</summary>
public sealed class DefinitionTests
{
    private const string Image = "/images/copy-vda.qcow2";
    private static readonly Guid Old = Guid.Parse("11111111-2222-3333-4444-555555555555");
    private static readonly Guid New = Guid.Parse("99999999-8888-7777-6666-555555555555");

    private static readonly Dictionary<string, string> Files = new(StringComparer.Ordinal)
    {
        ["nvram"] = "/images/copy-nvram", ["kernel"] = "/images/copy-kernel", ["initrd"] = "/images/copy-initrd",
    };

    [Fact]
    public void OrdinaryMachine_PassesUnderItsNewIdentity()
    {
        var document = Restored(Machine(
            """
            <controller type='usb' model='none'/>
            <interface type='network'>
              <mac address='52:54:00:12:34:56'/><source network='default'/><target dev='vnet3'/><model type='virtio'/>
            </interface>
            <serial type='pty' tty='/dev/pts/4'><source path='/dev/pts/4'/></serial>
            <channel type='unix'><source mode='bind' path='/run/x/agent'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
            <graphics type='vnc' port='5903' autoport='no'><listen type='address' address='127.0.0.1'/></graphics>
            <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
            <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
            """));
        Assert.Empty(Refused(document));
        var root = document.Root!;
        Assert.Equal("copy", root.Element("name")!.Value);
        Assert.Equal(New.ToString(), root.Element("uuid")!.Value);
        Assert.Equal(Image, root.Descendants("disk").Single().Element("source")!.Attribute("file")!.Value);
        Assert.Equal("qcow2", root.Descendants("disk").Single().Element("driver")!.Attribute("type")!.Value);
        Assert.Equal(Files.Values, ((string[])["nvram", "kernel", "initrd"]).Select(role => root.Element("os")!.Element(role)!.Value));
        Assert.Empty(root.Descendants("mac"));
        Assert.Empty(root.Descendants("tty"));
        Assert.DoesNotContain("/dev/pts", document.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("/run/x", document.ToString(), StringComparison.Ordinal);
        Assert.Equal("-1", root.Descendants("graphics").Single().Attribute("port")!.Value);
    }

    [Fact]
    public void SameMachineAgain_KeepsItsIdentity()
    {
        var document = DefinitionRewriter.Parse(Machine("<interface type='user'><mac address='52:54:00:12:34:56'/></interface>"));
        var notes = DefinitionRewriter.Rewrite(document, Changes() with { Name = "web", Uuid = Old, NewIdentity = false });
        Assert.Empty(notes);
        Assert.Equal("52:54:00:12:34:56", document.Descendants("mac").Single().Attribute("address")!.Value);
        Assert.Equal(Old.ToString(), document.Root!.Element("uuid")!.Value);
    }

    [Theory]
    [InlineData("<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/></source></hostdev>", "device <hostdev>")]
    [InlineData("<filesystem type='mount'><source dir='/'/><target dir='root'/></filesystem>", "device <filesystem>")]
    [InlineData("<shmem name='x'><model type='ivshmem-plain'/></shmem>", "device <shmem>")]
    [InlineData("<smartcard mode='host'/>", "device <smartcard>")]
    [InlineData("<emulator>/bin/sh</emulator>", "emulator '/bin/sh'")]
    [InlineData("<emulator>/tmp/qemu-system-x86_64</emulator>", "emulator '/tmp/qemu-system-x86_64'")]
    [InlineData("<emulator>/usr/bin/../../tmp/qemu-system-x86_64</emulator>", "emulator '/usr/bin/../../tmp")]
    [InlineData("<emulator>qemu-system-x86_64</emulator>", "emulator 'qemu-system-x86_64'")]
    [InlineData("<serial type='unix'><source mode='bind' path='/run/s'/></serial>", "<serial type='unix'>")]
    [InlineData("<serial type='file'><source path='/etc/cron.d/x'/></serial>", "<serial type='file'>")]
    [InlineData("<serial type='file'><source path='x'/></serial>", "host path 'x'")]
    [InlineData("<serial type='dev'><source path='/dev/sda'/></serial>", "<serial type='dev'>")]
    [InlineData("<serial type='tcp'><source mode='bind' host='0.0.0.0' service='1'/></serial>", "<serial type='tcp'>")]
    [InlineData("<serial type='pty'><log file='/etc/cron.d/x' append='on'/></serial>", "host path '/etc/cron.d/x'")]
    [InlineData("<serial type='pty'><log file='x' append='on'/></serial>", "host path 'x'")]
    [InlineData("<parallel type='file'><source path='/x'/></parallel>", "<parallel type='file'>")]
    [InlineData("<interface type='ethernet'><script path='/tmp/up'/></interface>", "runs a script")]
    [InlineData("<interface type='direct'><source dev='eth0' mode='vepa'/></interface>", "<interface type='direct'>")]
    [InlineData("<interface type='vhostuser'><source type='unix' path='/x' mode='client'/></interface>", "<interface type='vhostuser'>")]
    [InlineData("<interface type='user'><backend tap='/dev/net/tun'/></interface>", "host path '/dev/net/tun'")]
    [InlineData("<rng model='virtio'><backend model='random'>/etc/shadow</backend></rng>", "host path '/etc/shadow'")]
    [InlineData("<rng model='virtio'><backend model='random'>../etc/shadow</backend></rng>", "host path '../etc/shadow'")]
    [InlineData("<rng model='virtio'><backend model='egd' type='unix'/></rng>", "<rng> reads")]
    [InlineData("<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>", "<tpm> is not")]
    [InlineData("<input type='evdev'><source dev='/dev/input/event1'/></input>", "<input type='evdev'>")]
    [InlineData("<memory model='nvdimm'><source><path>/dev/sda</path></source></memory>", "host path '/dev/sda'")]
    [InlineData("<memory model='nvdimm'><source><path>../sda</path></source></memory>", "host path '../sda'")]
    [InlineData("<graphics type='egl-headless'><gl rendernode='/dev/dri/renderD128'/></graphics>", "host path '/dev/dri/renderD128'")]
    [InlineData("<audio id='1' type='file' path='x'/>", "<audio type='file'>")]
    public void HostileDevice_IsRefusedAndNamed(string device, string message) => AssertRefused(Machine(device), message);

    [Theory]
    [InlineData("<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-x'/></q:commandline>", "<commandline>")]
    [InlineData("<launchSecurity type='sev'/>", "<launchSecurity>")]
    [InlineData("<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>", "<sysinfo> hands host files")]
    [InlineData("<resource><partition>/machine/../../x</partition></resource>", "host path '/machine/../../x'")]
    [InlineData("<blkiotune><device><path>/dev/sda</path></device></blkiotune>", "host path '/dev/sda'")]
    [InlineData("<os><loader>/etc/shadow</loader></os>", "host path '/etc/shadow'")]
    [InlineData("<os><loader>etc/shadow</loader></os>", "host path 'etc/shadow'")]
    [InlineData("<os><loader>/usr/share/OVMF/../../../etc/shadow</loader></os>", "host path '/usr/share/OVMF/../")]
    [InlineData("<os><loader>/etc/shadow<x/></loader></os>", "host path '/etc/shadow'")]
    [InlineData("<os><acpi><table type='slic'>/etc/shadow</table></acpi></os>", "host path '/etc/shadow'")]
    public void HostileSetting_IsRefusedAndNamed(string setting, string message) =>
        AssertRefused($"<domain type='kvm'><name>web</name>{setting}<devices/></domain>", message);

    // Whatever a disk of the old machine named, the new one has what was restored, or nothing.
    [Theory]
    [InlineData("<disk type='file'><source file='/etc/shadow'/><target dev='vda'/></disk>", 1)]
    [InlineData("<disk type='file'><source file='/etc/shadow'/><target dev='vdb'/></disk>", 0)]
    [InlineData("<disk type='file'><source file='/etc/shadow'/></disk>", 0)]
    [InlineData("<disk type='file' device='cdrom'><source file='/etc/shadow'/><target dev='sda'/></disk>", 1)]
    [InlineData("<disk type='block'><source dev='/etc/shadow'/><source file='/etc/shadow'/><target dev='vda'/></disk>", 1)]
    [InlineData("<disk type='file'><mirror file='/etc/shadow'/><target dev='vda'/></disk>", 1)]
    [InlineData("<disk type='file'><backingStore type='file'><source file='/etc/shadow'/></backingStore><target dev='vda'/></disk>", 1)]
    public void DiskThatNamesAForeignFile_LosesIt(string disk, int left)
    {
        var document = Restored($"<domain type='kvm'><name>web</name><devices>{disk}</devices></domain>");
        Assert.DoesNotContain("/etc/shadow", document.ToString(), StringComparison.Ordinal);
        Assert.Equal(left, document.Descendants("disk").Count());
        Assert.Empty(Refused(document));
    }

    [Theory]
    [InlineData("<disk type='file'><source file='/etc/shadow'/><target dev='vda'/></disk>", "host path '/etc/shadow'")]
    [InlineData("<disk type='file'><source file='shadow'/><target dev='vda'/></disk>", "host path 'shadow'")]
    [InlineData("<disk type='file'><source file='/images/../etc/shadow'/><target dev='vda'/></disk>", "host path '/images/../etc/shadow'")]
    [InlineData("<disk type='block'><source dev='sda'/><target dev='vda'/></disk>", "host path 'sda'")]
    [InlineData("<disk type='block' device='lun'><source dev='/images/copy-vda.qcow2'/><target dev='sda'/></disk>", "passes host commands")]
    [InlineData("<disk type='block' rawio='yes'><source dev='/images/copy-vda.qcow2'/><target dev='sda'/></disk>", "raw access")]
    public void DiskThatWasNotRewritten_IsRefusedByTheListAlone(string disk, string message)
    {
        var document = DefinitionRewriter.Parse($"<domain type='kvm'><devices>{disk}</devices></domain>");
        Assert.Contains(Refused(document), reason => reason.Contains(message, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/shadow'>]><domain><name>&x;</name></domain>", "not well-formed")]
    [InlineData("<!DOCTYPE domain><domain/>", "not well-formed")]
    [InlineData("<network><name>x</name></network>", "not a libvirt domain")]
    [InlineData("<domain><name>", "not well-formed")]
    [InlineData("", "not well-formed")]
    public void DocumentThatIsNoPlainDefinition_IsRefused(string xml, string message)
    {
        var error = Assert.Throws<EngineException>(() => DefinitionRewriter.Parse(xml));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private static void AssertRefused(string xml, string message)
    {
        var refused = Refused(Restored(xml));
        Assert.True(
            refused.Any(reason => reason.Contains(message, StringComparison.Ordinal)),
            $"Nothing says '{message}'; refused is: {string.Join("; ", refused)}.");
    }

    private static XDocument Restored(string xml)
    {
        var document = DefinitionRewriter.Parse(xml);
        DefinitionRewriter.Rewrite(document, Changes());
        return document;
    }

    private static IReadOnlyList<string> Refused(XDocument document) =>
        DefinitionAllowList.Refused(document, Files.Values.Append(Image).ToHashSet(StringComparer.Ordinal));

    private static DefinitionChanges Changes() => new()
    {
        Name = "copy",
        Uuid = New,
        NewIdentity = true,
        Disks = new Dictionary<string, RestoredDisk>(StringComparer.Ordinal) { ["vda"] = new(Image, IsBlock: false, "qcow2") },
        Files = Files,
    };

    private static string Machine(string devices) =>
        $"""
        <domain type='kvm' id='7'>
          <name>web</name><uuid>{Old}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
          <os>
            <type arch='x86_64' machine='pc'>hvm</type>
            <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
            <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/web.fd</nvram>
            <kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd><cmdline>root=/dev/vda1 console=ttyS0</cmdline>
          </os>
          <seclabel type='dynamic' model='dac' relabel='yes'/>
          <devices>
            <disk type='block' device='disk'>
              <driver name='qemu' type='raw'/><source dev='/dev/vg/web'/><target dev='vda' bus='virtio'/>
            </disk>
            {devices}
          </devices>
        </domain>
        """;
}
