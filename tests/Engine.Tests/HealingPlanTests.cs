// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Tests;

/// <summary>What a hypervisor is told again, and what it is to forget: decided from bitmaps and committed points alone.</summary>
public sealed class HealingPlanTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly string A = Name(1);
    private static readonly string B = Name(2);

    [Fact]
    public void RecordThere_NothingIsDone()
    {
        var plan = HealingPlan.Make(Machine(Disk("vda", A)), [Record(A)], Previous(("vda", A)), []);
        Assert.Empty(plan.Redefine);
        Assert.Empty(plan.Forget);
    }

    [Fact]
    public void RecordLost_IsToldAgain_ForTheDisksThatCanUseIt()
    {
        var machine = Machine(
            Disk("vda", A),
            Disk("vdb"),
            Disk("vdc", A) with { Size = 5 },
            Disk("vdd", A) with { Bitmaps = Bitmap(A, BitmapHealth.Broken) });
        var plan = HealingPlan.Make(machine, [], Previous(("vda", A), ("vdb", A), ("vdc", A), ("vdd", A)), []);
        var told = Assert.Single(plan.Redefine);
        Assert.Equal((A, null, "vda"), (told.Name, told.Parent, Assert.Single(told.Disks).Name));
        Assert.Equal(Start, told.Created);
    }

    [Fact]
    public void NoDiskCanUseIt_NothingIsTold()
    {
        var other = new ImageIdentity("/other", "8:1", "9", "1.0");
        Assert.Empty(HealingPlan.Make(Machine(Disk("vda", A) with { Identity = other }), [], Previous(("vda", A)), []).Redefine);
        Assert.Empty(HealingPlan.Make(Machine(Disk("vda", A)), [], Previous(("vda", B)), []).Redefine);
    }

    [Fact]
    public void BitmapsGone_TheRecordIsDropped_OnlyOfOurs()
    {
        var plan = HealingPlan.Make(Machine(Disk("vda")), [Record("foreign"), Record(A)], Previous(("vda", A)), []);
        Assert.Equal([A], plan.Forget);
        Assert.Empty(plan.Redefine);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SeveralLost_ParentsComeFirst_AndOneWithoutParentIsARoot(bool parentsNoted)
    {
        var machine = Machine(Disk("vda", A), Disk("vdb", B));
        CheckpointRecord[] written =
        [
            Record(B) with { Parent = parentsNoted ? "gone" : null, Created = Start },
            Record("gone") with { Parent = A, Created = Start.AddSeconds(-1) },
            Record(A) with { Parent = "root", Created = Start.AddSeconds(5) },
        ];
        var plan = HealingPlan.Make(machine, [Record("foreign")], Previous(("vda", A), ("vdb", B)), written);
        Assert.Equal(
            parentsNoted ? [(A, (string?)null), (B, A)] : [(B, null), (A, null)],
            plan.Redefine.Select(told => (told.Name, told.Parent)));
    }

    [Fact]
    public void ParentThatTheHypervisorKnows_IsKept()
    {
        var plan = HealingPlan.Make(
            Machine(Disk("vda", A)), [Record("foreign")], Previous(("vda", A)), [Record("foreign"), Record(A) with { Parent = "foreign" }]);
        Assert.Equal("foreign", Assert.Single(plan.Redefine).Parent);
    }

    private static string Name(int run) => $"tidemark-01234567-{run:d32}";

    private static CheckpointRecord Record(string name) => new() { Name = name, Created = Start, Disks = [new TrackedDisk("vda")] };

    private static Dictionary<string, BitmapHealth> Bitmap(string name, BitmapHealth health) =>
        new(StringComparer.Ordinal) { [name] = health };

    private static Dictionary<string, PreviousDisk> Previous(params (string Disk, string Checkpoint)[] disks) => disks.ToDictionary(
        disk => disk.Disk,
        disk => new PreviousDisk
        {
            Run = Guid.Empty,
            Time = Start,
            Checkpoint = disk.Checkpoint,
            Identity = Image(disk.Disk),
            Size = 4,
            ChunkLog2 = 18,
        },
        StringComparer.Ordinal);

    private static ImageIdentity Image(string disk) => new($"/{disk}", "8:1", $"{(int)disk[2]}", "1.0");

    private static MachineDisk Disk(string name, string? bitmap = null) => new()
    {
        Name = name,
        Kind = "file",
        Format = "qcow2",
        Path = null,
        Serial = null,
        Size = 4,
        Identity = Image(name),
        Untrackable = null,
        Bitmaps = bitmap is null ? new Dictionary<string, BitmapHealth>() : Bitmap(bitmap, BitmapHealth.Recording),
    };

    private static Machine Machine(params MachineDisk[] disks) => new()
    {
        Name = "m",
        Uuid = "0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11",
        Host = "h",
        State = MachineState.Running,
        Disks = disks,
        NotProtected = [],
        AgentConnected = false,
        JobActive = false,
    };
}
