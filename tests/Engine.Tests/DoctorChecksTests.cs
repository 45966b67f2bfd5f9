// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Doctor;
using Tidemark.Engine.Doctor.Checks;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Tests;

/// <summary>Judgements that no lab host can be made to show.</summary>
public sealed class DoctorChecksTests
{
    private const string Scratch = "/var/lib/tidemark/scratch";

    private static readonly HypervisorFacts Hypervisor = new()
    {
        Uri = "qemu:///system",
        LibvirtVersion = new Version(9, 0, 0),
        QemuVersion = new Version(7, 2, 22),
        SupportsBackup = true,
        SecurityModels = ["dac"],
        QemuOwner = (64055, 64055),
    };

    private static readonly LeftoverFacts NoLeftovers = new() { Entries = [], StaleFolders = [], Unseen = [] };

    private static readonly HostFacts Host = new()
    {
        IsRoot = true,
        Scratch = new ScratchFacts
        {
            Path = Scratch,
            Exists = true,
            FileSystem = "ext4",
            FreeBytes = 100L << 30,
            IsOpenToAll = false,
            IsWritable = true,
            CanGiveAway = true,
            Impassable = null,
            IsPassageKnown = true,
        },
        State = new StateFacts { Path = "/var/lib/tidemark", Exists = true, IsWritable = true, IsOpenToOthers = false },
        MissingPrograms = [],
        GuardianFailure = null,
        Confinement = new ConfinementFacts(AppArmor: false, AppArmorNamesScratch: false, SeLinux: false),
        Tls = new TlsFacts("/etc/libvirt/qemu.conf", null, []),
        Leftovers = NoLeftovers,
    };

    private static readonly MachineFacts Machine = new()
    {
        Machine = new Machine
        {
            Name = "web",
            Uuid = "5d7f2a1e-0000-4000-8000-000000000001",
            Host = "here",
            State = MachineState.Running,
            Disks = [],
            NotProtected = [],
            AgentConnected = true,
            JobActive = false,
        },
        Agent = AgentState.Answers,
        IsFrozen = false,
        IsIoErrorPause = false,
        Checkpoints = [],
        Job = null,
        AllocatedBytes = 0,
        QemuOwner = null,
        Unseen = [],
    };

    [Fact]
    public void HealthyFacts_GiveNothingButOk()
    {
        Assert.All(HypervisorChecks.Judge(Hypervisor), AssertOk);
        Assert.All(HostChecks.Judge(Host, Hypervisor), AssertOk);
        Assert.All(ScratchChecks.Judge(Host.Scratch, ("web", 1L << 30)), AssertOk);
        Assert.All(MachineChecks.Judge(Machine, NoLeftovers, Scratch), AssertOk);

        static void AssertOk(Finding finding) => Assert.True(finding.Severity == Severity.Ok, finding.What);
    }

    [Fact]
    public void Hypervisor_TooOldOrWithoutBackups_IsAProblem()
    {
        AssertOne(HypervisorChecks.Judge(Hypervisor with { LibvirtVersion = new Version(6, 0, 0) }), Severity.Problem, "too old");
        AssertOne(HypervisorChecks.Judge(Hypervisor with { QemuVersion = new Version(4, 1, 0) }), Severity.Problem, "too old");
        AssertOne(HypervisorChecks.Judge(Hypervisor with { SupportsBackup = false }), Severity.Problem, "cannot make backups");
    }

    [Fact]
    public void Confinement_IsSaidWithTheScratchFolder()
    {
        var armored = Hypervisor with { SecurityModels = ["apparmor", "dac"] };
        var host = Host with { Confinement = new ConfinementFacts(AppArmor: true, AppArmorNamesScratch: false, SeLinux: false) };
        Assert.Contains($"\"{Scratch}/**\" rwk,", AssertOne(HostChecks.Judge(host, armored), Severity.Warning, "AppArmor").Mend,
            StringComparison.Ordinal);
        host = Host with { Confinement = new ConfinementFacts(AppArmor: true, AppArmorNamesScratch: true, SeLinux: false) };
        AssertOne(HostChecks.Judge(host, armored), Severity.Ok, "its profile names the scratch folder");
        Assert.DoesNotContain(HostChecks.Judge(host, Hypervisor), finding => finding.What.Contains("AppArmor", StringComparison.Ordinal));
        host = Host with { Confinement = new ConfinementFacts(AppArmor: false, AppArmorNamesScratch: false, SeLinux: true) };
        var labelled = Hypervisor with { SecurityModels = ["selinux", "dac"] };
        Assert.Contains("semanage", AssertOne(HostChecks.Judge(host, labelled), Severity.Note, "SELinux").Mend, StringComparison.Ordinal);
    }

    [Fact]
    public async Task HostFiles_AreReadWhereTheyLie()
    {
        var root = Path.Combine(Path.GetTempPath(), $"tm-{Guid.NewGuid().ToString("n")[..8]}");
        try
        {
            var folders = new HostFolders(Path.Combine(root, "state"), Path.Combine(root, "scratch"));
            Write("sys/module/apparmor/parameters/enabled", "Y\n");
            Write("etc/apparmor.d/local/abstractions/libvirt-qemu", $"\"{folders.Scratch}/**\" rwk,\n");
            Write(
                "etc/libvirt/qemu.conf", "# default_tls_x509_cert_dir = \"/no\"\nbackup_tls_x509_cert_dir = \"" + root + "/pki\" # here\n");
            Write("pki/ca-cert.pem", "");
            Directory.CreateDirectory(folders.State);
            File.SetUnixFileMode(folders.State, (UnixFileMode)0x1FF);
            var facts = await new HostReader(folders, root).ReadAsync(Hypervisor, null, null, EngineLab.Token);
            Assert.Equal(new ConfinementFacts(AppArmor: true, AppArmorNamesScratch: true, SeLinux: false), facts.Confinement);
            Assert.Equal($"{root}/pki", facts.Tls.Folder);
            AssertOne(HostChecks.Judge(facts, Hypervisor), Severity.Note, "lacks server-cert.pem, server-key.pem");
            AssertOne(HostChecks.Judge(facts, Hypervisor), Severity.Problem, "can be written by others");
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }

        void Write(string name, string text)
        {
            var file = Path.Combine(root, name);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
        }
    }

    [Fact]
    public async Task GuardianThatDoesNotStart_IsAProblemWithItsOwnWords()
    {
        var folders = new HostFolders("/nowhere/state", "/nowhere/scratch");
        var missing = await GuardianProcess.WhyNotAsync(["/nowhere/tidemark"], null, folders, EngineLab.Token);
        AssertOne(HostChecks.Judge(Host with { GuardianFailure = missing }, Hypervisor), Severity.Problem, "No such file");
        var failing = await GuardianProcess.WhyNotAsync(["sh", "-c", "echo no libzstd >&2; exit 3"], null, folders, EngineLab.Token);
        AssertOne(HostChecks.Judge(Host with { GuardianFailure = failing }, Hypervisor), Severity.Problem, "no libzstd");
    }

    [Fact]
    public void ScratchSpace_IsComparedWithTheWorstCase()
    {
        AssertOne(ScratchChecks.Judge(Host.Scratch with { FileSystem = "tmpfs" }, null), Severity.Note, "in memory");
        AssertOne(ScratchChecks.Judge(Host.Scratch with { FreeBytes = 50L << 30 }, ("web", 90L << 30)), Severity.Note, "90.0 GiB");
        AssertOne(ScratchChecks.Judge(Host.Scratch with { FreeBytes = 5L << 30 }, ("web", 90L << 30)), Severity.Warning, "5.0 GiB free");
        AssertOne(ScratchChecks.Judge(Host.Scratch with { CanGiveAway = false }, null), Severity.Problem, "give no folder");
        AssertOne(ScratchChecks.Judge(Host.Scratch with { IsOpenToAll = true }, null), Severity.Problem, "Anyone may remove");
    }

    [Fact]
    public void AgentPauseAndJob_AreJudgedByWhetherARunIsAlive()
    {
        AssertOne(Judge(Machine with { Agent = AgentState.Silent }), Severity.Warning, "does not answer");
        AssertOne(Judge(Machine with { IsIoErrorPause = true }), Severity.Problem, "paused it");
        AssertOne(Judge(Machine with { Job = new JobFacts("migrationout", null, null) }), Severity.Warning, "job of others");
        var frozen = Machine with { IsFrozen = true };
        var busy = Machine with { Job = new JobFacts("backup", TimeSpan.FromSeconds(7), $"{Scratch}/x/nbd.sock") };
        Assert.Equal("virsh domfsthaw web", AssertOne(Judge(frozen), Severity.Problem, "frozen").Mend);
        Assert.Equal("virsh domjobabort web", AssertOne(Judge(busy), Severity.Problem, "dead run is active, for 7 s").Mend);
        var dead = NoLeftovers with { Entries = [new LeftoverEntry(Entry(), IsDead: true)] };
        Assert.Equal("tidemark backup web", AssertOne(MachineChecks.Judge(busy, dead, Scratch), Severity.Problem, "dead run").Mend);
        var alive = NoLeftovers with { Entries = [new LeftoverEntry(Entry(), IsDead: false)] };
        AssertOne(MachineChecks.Judge(busy, alive, Scratch), Severity.Note, "A backup is under way");
        Assert.DoesNotContain(MachineChecks.Judge(frozen, alive, Scratch), finding => finding.Severity == Severity.Problem);
        AssertOne(LeftoverChecks.Judge(alive, Machine.Machine.Uuid), Severity.Note, "is under way");
        Assert.Empty(LeftoverChecks.Judge(dead, "another"));
        var owed = NoLeftovers with { Entries = [new LeftoverEntry(Entry() with { ThawOwed = true }, IsDead: true)] };
        AssertOne(LeftoverChecks.Judge(owed, null), Severity.Warning, "may still take effect");

        static IEnumerable<Finding> Judge(MachineFacts facts) => MachineChecks.Judge(facts, NoLeftovers, Scratch);
    }

    [Fact]
    public void Bitmaps_AreCountedByWhoseTheyAre()
    {
        var (ours, other) = (
            new CheckpointName("0123abcd", Guid.NewGuid()).ToString(), new CheckpointName("ffffffff", Guid.NewGuid()).ToString());
        var foreign = Enumerable.Range(0, 40).Select(number => $"veeam-{number}");
        AssertOne(Judge([ours, other, .. foreign], []), Severity.Warning, "42 bitmaps, 40 of them not ours");
        AssertOne(Judge([ours, other, "theirs"], [ours, other]), Severity.Ok, "1 of this repository, 1 of other repositories, 1 of others");
        AssertOne(Judge([ours], []), Severity.Note, "has no record");
        AssertOne(Judge([], [ours]), Severity.Note, "has lost its bitmap");
        AssertOne(Judge([], ["theirs"]), Severity.Note, "it is not ours");

        AssertOne(Judge(Many(15_000), []), Severity.Warning, "every write of the guest sets a bit in each");
        AssertOne(Judge(Many(30_000), []), Severity.Problem, "cannot be backed up while it runs");
        AssertOne(Judge(Many(65_000), []), Severity.Problem, "does not start");

        IReadOnlyList<string> Many(int count) => [.. Enumerable.Range(0, count).Select(i => $"bitmap-{i:d5}")];

        IEnumerable<Finding> Judge(IReadOnlyList<string> bitmaps, IReadOnlyList<string> records) => BitmapChecks.Judge(
            Machine with
            {
                Machine = Machine.Machine with
                {
                    Disks =
                    [
                        new MachineDisk
                        {
                            Name = "vda",
                            Kind = "file",
                            Format = "qcow2",
                            Path = "/images/web.qcow2",
                            Serial = null,
                            Size = 1 << 20,
                            Identity = null,
                            Untrackable = null,
                            Bitmaps = bitmaps.ToDictionary(name => name, _ => BitmapHealth.Recording, StringComparer.Ordinal),
                        },
                    ],
                },
                Checkpoints = records.Select(name => new CheckpointRecord
                {
                    Name = name,
                    Created = DateTimeOffset.UnixEpoch,
                    Disks = [new TrackedDisk("vda")],
                }).ToList(),
            },
            "0123abcd");
    }

    [Fact]
    public void Repository_LimitsAndClocks_AreSaid()
    {
        var now = new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
        var facts = new RepositoryFacts { Writer = "0011223344556677", WasWriteTried = true, Now = now, StoreNow = now };
        AssertOne(RepositoryChecks.Judge(facts with { SingleWriter = "ff" }), Severity.Problem, "single writer, 'ff'");
        AssertOne(RepositoryChecks.Judge(facts with { SingleWriter = facts.Writer }), Severity.Note, "this host");
        AssertOne(RepositoryChecks.Judge(facts with { UnknownWriteFeature = "wings" }), Severity.Problem, "'wings' for backups");
        AssertOne(RepositoryChecks.Judge(facts with { UnknownCollectFeature = "wheels" }), Severity.Note, "'wheels'");
        AssertOne(RepositoryChecks.Judge(facts with { IsMaintenanceKey = true }), Severity.Warning, "maintenance");
        AssertOne(RepositoryChecks.Judge(facts with { WasWriteTried = false }), Severity.Note, "first backup");
        AssertOne(RepositoryChecks.Judge(facts with { StoreNow = now.AddMinutes(14) }), Severity.Warning, "14 minutes behind");
        AssertOne(RepositoryChecks.Judge(facts with { StoreNow = now.AddMinutes(-14) }), Severity.Warning, "14 minutes ahead of");
        AssertOne(RepositoryChecks.Judge(facts with { Damaged = ["Point 'x' is damaged."] }), Severity.Problem, "'x'");
        var machine = new MachineName("web", Machine.Machine.Uuid);
        Assert.Equal(Severity.Warning, RepositoryChecks.JudgeAge(facts, machine).Severity);
        Assert.Equal(Severity.Ok, RepositoryChecks.JudgeAge(Backed(now.AddHours(-30)), machine).Severity);
        var old = RepositoryChecks.JudgeAge(Backed(now.AddDays(-9)), machine);
        Assert.Equal(Severity.Warning, old.Severity);
        Assert.Contains("9 days old", old.What, StringComparison.Ordinal);

        RepositoryFacts Backed(DateTimeOffset time) => facts with
        {
            Newest = new Dictionary<string, NewestPoint>(StringComparer.Ordinal)
            {
                [machine.Uuid] = new NewestPoint("web", "here", time, time),
            },
        };
    }

    private static JournalEntry Entry() => new()
    {
        Run = Guid.NewGuid(),
        Process = 1,
        MachineUuid = Machine.Machine.Uuid,
        MachineName = "web",
        Connect = null,
        Repository = "/srv/backup",
        RepositoryPart = "0123abcd",
        Checkpoint = null,
        Folder = $"{Scratch}/x",
        Disks = [],
    };

    private static Finding AssertOne(IEnumerable<Finding> findings, Severity severity, string text)
    {
        var all = findings.ToList();
        var found = all.FindAll(finding => finding.Severity == severity && finding.What.Contains(text, StringComparison.Ordinal));
        Assert.True(found.Count == 1, $"{found.Count} findings {severity} with '{text}': {string.Join('\n', all)}");
        return found[0];
    }
}
