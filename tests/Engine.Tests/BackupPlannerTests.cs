// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Restore;

namespace Tidemark.Engine.Tests;

/// <summary>E1: a base is used only when everything about it fits; each thing that does not is a full read with its own reason.</summary>
public sealed class BackupPlannerTests
{
    private const string Checkpoint = "tidemark-01234567-0123456789abcdef0123456789abcdef";
    private static DataFile Data => new(Image with { Path = "/images/a.data", Inode = "7" }, 4096, DateTimeOffset.UnixEpoch.AddDays(9));

    private static Func<MachineDisk, MachineDisk> WithData(DataFile data) => disk => disk with { DataFile = data };

    private static readonly ImageIdentity Image = new("/images/a.qcow2", "8:1", "42", "1700000000.000000001");

    [Fact]
    public void EverythingFits_IsIncremental()
    {
        var plan = Plan(Disk(), Previous());
        Assert.Equal(Checkpoint, plan.Base);
        Assert.StartsWith("changes since", plan.Reason, StringComparison.Ordinal);
        Assert.False(plan.FellBack);
    }

    public static TheoryData<string, Func<MachineDisk, MachineDisk>, Func<PreviousDisk, PreviousDisk>> Misfits => new()
    {
        { "size changed", disk => disk with { Size = 9 << 20 }, previous => previous },
        { "another image", disk => disk with { Identity = Image with { Path = "/images/b.qcow2", Inode = "43" } }, previous => previous },
        { "created anew", disk => disk with { Identity = Image with { Birth = "1.0" } }, previous => previous },
        { "another file", disk => disk with { Identity = Image with { Inode = "43" } }, previous => previous },
        { "'/images/a.qcow2' before", disk => disk with { Identity = Image with { Path = "/b", Device = "8:2" } }, previous => previous },
        {
            "another file",
            disk => disk with { Identity = Image with { Device = "8:2", Birth = "unknown" } },
            previous => previous with { Identity = Image with { Birth = "unknown" } }
        },
        { "cannot be told", disk => disk with { Identity = null }, previous => previous },
        { "cannot be told", disk => disk, previous => previous with { Identity = null } },
        { "not in the same file", disk => disk with { DataFile = Data }, previous => previous },
        { "not in the same file", disk => disk, previous => previous with { DataFile = Data } },
        { "which file", disk => disk with { DataFile = Data with { Identity = null } }, previous => previous with { DataFile = Data } },
        { "another data file", WithData(Data with { Identity = Image }), previous => previous with { DataFile = Data } },
        { "was cut from", WithData(Data with { Size = 4095 }), previous => previous with { DataFile = Data } },
        { "put back", WithData(Data with { Modified = Data.Modified.AddTicks(-1) }), previous => previous with { DataFile = Data } },
        { "missing on this disk", disk => disk with { Bitmaps = new Dictionary<string, BitmapHealth>() }, previous => previous },
        { "inconsistent", disk => disk with { Bitmaps = Bitmaps(BitmapHealth.Broken) }, previous => previous },
        { "lacks changes", disk => disk with { Bitmaps = Bitmaps(BitmapHealth.Incomplete) }, previous => previous },
        {
            "no record of checkpoint",
            disk => disk with { Bitmaps = new Dictionary<string, BitmapHealth> { ["tidemark-gone"] = BitmapHealth.Recording } },
            previous => previous with { Checkpoint = "tidemark-gone" }
        },
        { "could not start tracking", disk => disk, previous => previous with { Checkpoint = null } },
        { "of key domain 'shop', this one of no key domain", disk => disk, previous => previous with { Domain = "shop" } },
        { "raw images", disk => disk with { Untrackable = "raw images cannot carry a bitmap" }, previous => previous },
    };

    [Theory]
    [MemberData(nameof(Misfits))]
    public void OneThingThatDoesNotFit_IsFullAndSaysSo(
        string reason, Func<MachineDisk, MachineDisk> disk, Func<PreviousDisk, PreviousDisk> previous)
    {
        var plan = Plan(disk(Disk()), previous(Previous()));
        Assert.Null(plan.Base);
        Assert.Contains(reason, plan.Reason, StringComparison.Ordinal);
        Assert.Equal(disk(Disk()).Untrackable is null, plan.FellBack);
    }

    [Theory]
    [InlineData("/images/a.qcow2", "0:53")] // the same file system, numbered anew after a reboot, or mounted by another host
    [InlineData("/images/renamed.qcow2", "8:1")]
    public void SameImageUnderAnotherDeviceNumberOrName_IsIncremental(string path, string device)
    {
        var plan = Plan(Disk() with { Identity = Image with { Path = path, Device = device } }, Previous());
        Assert.Equal(Checkpoint, plan.Base);
    }

    [Fact]
    public void DataFileThatWasWrittenMeanwhile_IsIncremental()
    {
        var now = Data with { Size = 8192, Modified = Data.Modified.AddHours(1) };
        Assert.Equal(Checkpoint, Plan(WithData(now)(Disk()), Previous() with { DataFile = Data }).Base);
    }

    [Fact]
    public void FirstBackup_IsFullAndNoFallback()
    {
        var plan = Plan(Disk(), null);
        Assert.Null(plan.Base);
        Assert.False(plan.FellBack);
    }

    [Fact]
    public void ChosenAndExcludedDisks_AreSaid()
    {
        var machine = Machine(Disk(), Disk() with { Name = "vdb" }, Disk() with { Name = "vdc" });
        var plan = BackupPlanner.Plan(machine, Checkpoints, new Dictionary<string, PreviousDisk>(), new BackupOptions
        {
            Disks = ["vda", "vdc"],
            Exclude = ["vdc"],
        });
        Assert.Equal("vda", Assert.Single(plan.Disks).Disk.Name);
        Assert.Equal(["sda", "vdb", "vdc"], plan.NotProtected.Select(disk => disk.Name));
    }

    [Theory]
    [InlineData("vdz", "has no disk 'vdz'")]
    [InlineData("sda", "cannot be protected: a CD-ROM drive")]
    public void DiskThatCannotBeHad_IsRefused(string disk, string expected)
    {
        var failure = Assert.Throws<EngineException>(() => BackupPlanner.Plan(
            Machine(Disk()), Checkpoints, new Dictionary<string, PreviousDisk>(), new BackupOptions { Disks = [disk] }));
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
        Assert.Equal(FailureKind.Usage, failure.Kind);
    }

    [Fact]
    public void CheckpointNames_AreOursOnlyWhenWhole()
    {
        Assert.True(CheckpointName.TryParse(Checkpoint, out var name));
        Assert.Equal("01234567", name.Value.Repository);
        Assert.Equal(Checkpoint, name.Value.ToString());
        string[] others = ["virtnbdbackup.0", "", "tidemark", Checkpoint + "x", Checkpoint[..^1], Checkpoint.ToUpperInvariant()];
        foreach (var other in others)
            Assert.False(CheckpointName.TryParse(other, out _));
    }

    [Theory]
    [InlineData("../x", "_._x")]
    [InlineData("a/b", "a_b")]
    [InlineData("..", "_.")]
    [InlineData("", "_")]
    [InlineData("ümlaut", "_mlaut")]
    [InlineData("web-1.example", "web-1.example")]
    public void NamesOfMachines_NeverBecomePaths(string name, string safe)
    {
        Assert.Equal(safe, FileNames.Safe(name));
        Assert.Equal(FileNames.Safe(name), Path.GetFileName(FileNames.Safe(name)));
    }

    private static readonly HashSet<string> Checkpoints = [Checkpoint, "foreign"];

    private static DiskPlan Plan(MachineDisk disk, PreviousDisk? previous)
    {
        var known = new Dictionary<string, PreviousDisk>();
        if (previous is not null)
            known.Add(disk.Name, previous);
        return Assert.Single(BackupPlanner.Plan(Machine(disk), Checkpoints, known, new BackupOptions()).Disks);
    }

    private static Machine Machine(params MachineDisk[] disks) => new()
    {
        Name = "m",
        Uuid = "0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11",
        Host = "h",
        State = MachineState.Running,
        Disks = disks,
        NotProtected = [new UnprotectedDisk("sda", "a CD-ROM drive")],
        AgentConnected = false,
        JobActive = false,
    };

    private static MachineDisk Disk() => new()
    {
        Name = "vda",
        Kind = "file",
        Format = "qcow2",
        Path = Image.Path,
        Serial = null,
        Size = 8 << 20,
        Identity = Image,
        Untrackable = null,
        Bitmaps = Bitmaps(BitmapHealth.Recording),
    };

    private static PreviousDisk Previous() => new()
    {
        Run = Guid.Parse("01234567-89ab-cdef-0123-456789abcdef"),
        Time = DateTimeOffset.UnixEpoch,
        Checkpoint = Checkpoint,
        Identity = Image,
        Size = 8 << 20,
        ChunkLog2 = 18,
    };

    private static Dictionary<string, BitmapHealth> Bitmaps(BitmapHealth health) => new() { [Checkpoint] = health };
}
