// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Libvirt.Xml;
using Tidemark.TestKit;

namespace Tidemark.Libvirt.Tests;

public sealed class XmlTests
{
    private const string Rich = """
        <domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
          <name>web-1</name>
          <uuid>adcd6f9c-447b-437d-b905-9f35c612d432</uuid>
          <os firmware='efi'>
            <type arch='x86_64' machine='q35'>hvm</type>
            <loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
            <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/web-1.fd</nvram>
            <kernel>/boot/vmlinuz</kernel>
            <initrd>/boot/initrd</initrd>
            <cmdline>console=ttyS0 quiet</cmdline>
            <dtb>/boot/board.dtb</dtb>
          </os>
          <devices>
            <emulator>/usr/bin/qemu-system-x86_64</emulator>
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2' discard='unmap'/>
              <source file='/img/a &amp; b.qcow2' index='3' startupPolicy='optional'><encryption format='luks'/></source>
              <backingStore type='file' index='4'><format type='qcow2'/><source file='/img/base.qcow2'/><backingStore/></backingStore>
              <mirror type='file' job='copy'/>
              <target dev='vda' bus='virtio'/>
              <serial>S-1</serial>
              <alias name='virtio-disk0'/>
            </disk>
            <disk type='block' device='lun'><source dev='/dev/sdz'/><target dev='sda' bus='scsi'/><shareable/></disk>
            <disk type='network' device='disk'><source protocol='rbd' name='pool/image'/><target dev='vdb'/></disk>
            <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdc'/><transient/></disk>
            <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
            <disk type='file' device='floppy'><source file='/img/f.img'/><target dev='fda'/></disk>
            <disk type='dir' device='disk'><source dir='/export'/><target dev='vdd'/></disk>
            <disk type='nvme' device='hologram'><source type='pci'/><target dev='vde'/></disk>
            <channel type='unix'><target type='virtio' name='org.spice.0' state='connected'/></channel>
            <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
            <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
          </devices>
          <seclabel type='dynamic' model='apparmor'><label>libvirt-x</label></seclabel>
          <seclabel type='dynamic' model='dac'><label>+64055:+109</label></seclabel>
          <qemu:commandline><qemu:arg value='-x'/></qemu:commandline>
        </domain>
        """;

    [Fact]
    public void RichDomain_IsReadWhole()
    {
        var domain = DomainDescription.Parse(Rich);

        Assert.Equal(("web-1", "kvm", "/usr/bin/qemu-system-x86_64"), (domain.Name, domain.HypervisorType, domain.Emulator));
        Assert.Equal(Guid.Parse("adcd6f9c-447b-437d-b905-9f35c612d432"), domain.Uuid);
        Assert.Equal((64055, 109), domain.Owner);
        Assert.Equal((true, true), (domain.HasAgentChannel, domain.IsAgentConnected));
        Assert.Equal(new TpmDescription("tpm-crb", "emulator", "2.0"), domain.Tpm);
        Assert.Equal(
            new BootDescription
            {
                Firmware = "efi",
                LoaderPath = "/usr/share/OVMF/OVMF_CODE.fd",
                LoaderType = "pflash",
                IsLoaderReadOnly = true,
                IsLoaderSecure = true,
                NvramPath = "/var/lib/libvirt/qemu/nvram/web-1.fd",
                NvramTemplate = "/usr/share/OVMF/OVMF_VARS.fd",
                Kernel = "/boot/vmlinuz",
                Initrd = "/boot/initrd",
                CommandLine = "console=ttyS0 quiet",
                DeviceTree = "/boot/board.dtb",
            },
            domain.Boot);
        Assert.Single(domain.Document.Root!.Elements(), element => element.Name.LocalName == "commandline");
    }

    [Fact]
    public void Disks_AreReadByKind()
    {
        var disks = DomainDescription.Parse(Rich).Disks;

        Assert.Equal(
            new DiskDescription
            {
                Target = "vda",
                Bus = "virtio",
                Device = DiskDevice.Disk,
                Source = new DiskSource(DiskSourceKind.File, "/img/a & b.qcow2", null, 3),
                Format = "qcow2",
                Serial = "S-1",
                Backing = disks[0].Backing,
                DefinedBelow = disks[0].DefinedBelow,
                IsEncrypted = true,
                HasMirror = true,
                StartupPolicy = "optional",
                DiscardMode = "unmap",
                Alias = "virtio-disk0",
            },
            disks[0]);
        Assert.Equal([new DiskSource(DiskSourceKind.File, "/img/base.qcow2", null, 4)], disks[0].Backing);
        Assert.Equal(["/img/base.qcow2", ""], disks[0].DefinedBelow);
        Assert.Equal(
            [
                ("sda", DiskDevice.Lun, new DiskSource(DiskSourceKind.Block, "/dev/sdz", null, null)),
                ("vdb", DiskDevice.Disk, new DiskSource(DiskSourceKind.Network, "pool/image", "rbd", null)),
                ("vdc", DiskDevice.Disk, new DiskSource(DiskSourceKind.Volume, "p/v", null, null)),
                ("hdc", DiskDevice.Cdrom, new DiskSource(DiskSourceKind.None, null, null, null)),
                ("fda", DiskDevice.Floppy, new DiskSource(DiskSourceKind.File, "/img/f.img", null, null)),
                ("vdd", DiskDevice.Disk, new DiskSource(DiskSourceKind.Folder, "/export", null, null)),
                ("vde", DiskDevice.Unknown, new DiskSource(DiskSourceKind.Unknown, null, null, null)),
            ],
            disks.Skip(1).Select(disk => (disk.Target, disk.Device, disk.Source)));
        Assert.Equal((true, true, true), (disks[1].IsShareable, disks[3].IsTransient, disks[4].IsReadOnly));
    }

    [Fact]
    public void EmptyDomain_HasNothing()
    {
        var domain = DomainDescription.Parse("<domain/>");

        Assert.Equal(("", null, null, null, false), (domain.Name, domain.Uuid, domain.Tpm, domain.Owner, domain.HasAgentChannel));
        Assert.Empty(domain.Disks);
        Assert.Equal(new BootDescription(), domain.Boot);
    }

    [Theory]
    [InlineData("")]
    [InlineData("<domain>")]
    [InlineData("<network/>")]
    [InlineData("<!DOCTYPE domain [<!ENTITY a 'x'>]><domain><name>&a;</name></domain>")]
    [InlineData("<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>")]
    public void BadXml_ThrowsInvalidData(string xml)
    {
        Assert.Throws<InvalidDataException>(() => DomainDescription.Parse(xml));
        Assert.Throws<InvalidDataException>(() => BackupXml.Read(xml));
        Assert.Throws<InvalidDataException>(() => CheckpointXml.Read(xml));
    }

    /// <summary>Elements and attributes vanish or change at random: whatever the XML says, reading it does not fail.</summary>
    [Fact]
    public void MutatedXml_IsAlwaysRead()
    {
        var seed = Seed.Choose(20_261);
        var random = new Random(seed);
        string[] junk = ["", "-1", "99999999999999999999", "no", " ?", "+:+", "a:b:c", "Zz"];
        for (var round = 0; round < 1000; round++)
        {
            var root = XElement.Parse(Rich);
            for (var change = random.Next(1, 6); change > 0; change--)
                Mutate(root, random, junk);
            var exception = Record.Exception(() => DomainDescription.Parse(root.ToString()));
            Assert.True(exception == null, $"Seed {seed}, round {round}: {exception}\n{root}");
        }
    }

    [Fact]
    public void TruncatedXml_ThrowsInvalidData()
    {
        var text = XElement.Parse(Rich).ToString(SaveOptions.DisableFormatting);
        for (var length = 0; length < text.Length; length++)
            Assert.Throws<InvalidDataException>(() => DomainDescription.Parse(text[..length]));
    }

    [Fact]
    public void Backup_IsWrittenAsLibvirtReadsIt()
    {
        var backup = new BackupDescription(
            "/run/s.sock",
            [
                new BackupDisk("vda", new BackupScratch("/scratch/a<b>.scratch"))
                {
                    Incremental = "c1",
                    ExportName = "x y",
                    ExportBitmap = "bits",
                },
                new BackupDisk("vdb", new BackupScratch("/dev/loop9", IsBlockDevice: true)),
                new BackupDisk("vdc", null),
            ]);
        var expected = XElement.Parse("""
            <domainbackup mode="pull">
              <server transport="unix" socket="/run/s.sock"/>
              <disks>
                <disk name="vda" backup="yes" type="file" backupmode="incremental" incremental="c1" exportname="x y" exportbitmap="bits">
                  <scratch file="/scratch/a&lt;b&gt;.scratch"/>
                </disk>
                <disk name="vdb" backup="yes" type="block" backupmode="full"><scratch dev="/dev/loop9"/></disk>
                <disk name="vdc" backup="no"/>
              </disks>
            </domainbackup>
            """);

        var xml = BackupXml.Write(backup);
        var read = BackupXml.Read(xml);

        Assert.True(XNode.DeepEquals(expected, XElement.Parse(xml)), xml);
        Assert.Equal((backup.SocketPath, true), (read.SocketPath, backup.Disks.SequenceEqual(read.Disks)));
    }

    [Fact]
    public void Checkpoint_IsReadAsItWasWritten()
    {
        var checkpoint = new CheckpointDescription("tm-1", [new CheckpointDisk("vda", true), new CheckpointDisk("vdb", false)])
        {
            Parent = "tm-0",
            Description = "made by a run",
            CreationTime = DateTimeOffset.FromUnixTimeSeconds(1_795_198_539),
        };
        var expected = XElement.Parse("""
            <domaincheckpoint>
              <name>tm-1</name>
              <description>made by a run</description>
              <parent><name>tm-0</name></parent>
              <creationTime>1795198539</creationTime>
              <disks><disk name="vda" checkpoint="bitmap" bitmap="tm-1"/><disk name="vdb" checkpoint="no"/></disks>
            </domaincheckpoint>
            """);

        var xml = CheckpointXml.Write(checkpoint);
        var read = CheckpointXml.Read(xml);

        Assert.True(XNode.DeepEquals(expected, XElement.Parse(xml)), xml);
        Assert.Equal(checkpoint.Disks, read.Disks);
        Assert.Equal(checkpoint, read with { Disks = checkpoint.Disks });
    }

    private static void Mutate(XElement root, Random random, string[] junk)
    {
        var elements = root.Descendants().ToArray();
        if (elements.Length == 0)
            return;
        var element = elements[random.Next(elements.Length)];
        var attributes = element.Attributes().Where(attribute => !attribute.IsNamespaceDeclaration).ToArray();
        switch (random.Next(4))
        {
            case 0:
                element.Remove();
                break;
            case 1 when attributes.Length > 0:
                attributes[random.Next(attributes.Length)].Remove();
                break;
            case 2 when attributes.Length > 0:
                attributes[random.Next(attributes.Length)].Value = junk[random.Next(junk.Length)];
                break;
            default:
                element.Value = junk[random.Next(junk.Length)];
                break;
        }
    }
}
