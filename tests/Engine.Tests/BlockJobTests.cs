// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>
/// Snapshots and block jobs between backups, and what is done to images while the machine is off: the next backup reads the changes
/// exactly, or everything and says why. Only vda is touched, so vdb stays incremental.
/// </summary>
public sealed class BlockJobTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task SnapshotsOnTopOfACheckpoint_AreIncremental(int levels)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, $"snapshot{levels}");
        for (var level = 0; level < levels; level++)
        {
            await SnapshotAsync(machine, $"s{level}");
            await machine.WriteAsync("vda", (5 * Mebi) + (level * 65536), 4096, 0x51, EngineLab.Token);
        }

        await AssertNextAsync(lab, machine, "incremental");
        await WriteAsync(machine, 3);
        await AssertNextAsync(lab, machine, "incremental");
        await machine.StopAsync(EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await WriteAsync(machine, 4);
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Theory]
    [InlineData(false)] // the checkpoint was made before the snapshot
    [InlineData(true)] // … and after it, so that only the overlay has its bitmap
    public async Task ActiveCommit_IsIncrementalIntoTheImageOfTheCheckpoint_ElseFull(bool backedUpOnTheOverlay)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, $"commit{backedUpOnTheOverlay}");
        await SnapshotAsync(machine, "s");
        if (backedUpOnTheOverlay)
            await AssertNextAsync(lab, machine, "incremental");
        await WriteAsync(machine, 3);
        await machine.CommitAsync("vda", machine.ImagePath("vda"), EngineLab.Token);
        await WriteAsync(machine, 5);
        await (backedUpOnTheOverlay
            ? AssertNextAsync(lab, machine, "full", "was merged into it")
            : AssertNextAsync(lab, machine, "incremental"));
        await AssertNextAsync(lab, machine, "incremental");
    }

    // QEMU reads zeroes above the end of a shorter image, whatever lies below it, and a commit copies only what is allocated. So the
    // guest gets back what it had lost, and no bitmap has a note of it.
    [Fact]
    public async Task CommitThatShowsWhatAShorterImageHid_IsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "hidden");
        await machine.WriteBytesAsync("vda", 6 * Mebi, Noise(6, Mebi), EngineLab.Token);
        await SnapshotAsync(machine, "short");
        await machine.ResizeAsync("vda", 4 * Mebi, EngineLab.Token);
        await SnapshotAsync(machine, "grown");
        await machine.ResizeAsync("vda", 8 * Mebi, EngineLab.Token);
        await AssertNextAsync(lab, machine, "full", "of different lengths");
        var hidden = await machine.ReadDiskAsync("vda", EngineLab.Token);
        await machine.CommitMiddleAsync("vda", machine.OverlayPath("vda", "short"), machine.ImagePath("vda"), EngineLab.Token);
        Assert.NotEqual(hidden, await machine.ReadDiskAsync("vda", EngineLab.Token));
        await AssertNextAsync(lab, machine, "full", "the images below");
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task RecordedSnapshotDeleted_IsIncremental()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "deleted");
        await machine.VirshAsync(["snapshot-create-as", machine.Name, "s", "--disk-only"], EngineLab.Token);
        await WriteAsync(machine, 3);
        await machine.VirshAsync(["snapshot-delete", machine.Name, "s"], EngineLab.Token);
        Assert.Equal([machine.ImagePath("vda")], await machine.ImagesAsync("vda", EngineLab.Token));
        await WriteAsync(machine, 5);
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task MiddleCommittedSinceTheCheckpoint_IsIncremental_BelowItIsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "middle");
        await SnapshotAsync(machine, "s1");
        await WriteAsync(machine, 3);
        await SnapshotAsync(machine, "s2");
        await machine.CommitMiddleAsync("vda", machine.OverlayPath("vda", "s1"), machine.ImagePath("vda"), EngineLab.Token);
        await WriteAsync(machine, 5);
        await AssertNextAsync(lab, machine, "incremental");

        await SnapshotAsync(machine, "s3");
        await AssertNextAsync(lab, machine, "incremental");
        await machine.CommitMiddleAsync("vda", machine.OverlayPath("vda", "s2"), machine.ImagePath("vda"), EngineLab.Token);
        await WriteAsync(machine, 7);
        await AssertNextAsync(lab, machine, "full", "the images below");
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Theory]
    [InlineData(false, "another image")]
    [InlineData(true, "the images below")]
    public async Task Pull_IsFullAndSaysWhy(bool backedUpOnTheOverlay, string reason)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, $"pull{backedUpOnTheOverlay}");
        await SnapshotAsync(machine, "s");
        if (backedUpOnTheOverlay)
            await AssertNextAsync(lab, machine, "incremental");
        await WriteAsync(machine, 3);
        await machine.PullAsync("vda", cancellationToken: EngineLab.Token);
        await WriteAsync(machine, 5);
        await AssertNextAsync(lab, machine, "full", reason);
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task CopiedToANewImage_IsRefusedWhileItRunsAndFullAfterwards()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "copied");
        await machine.CopyToAsync("vda", machine.OverlayPath("vda", "mirror"), pivot: false, EngineLab.Token);
        await AssertBusyAsync(lab, machine);
        await machine.EndCopyAsync("vda", EngineLab.Token);
        await WriteAsync(machine, 3);
        await AssertNextAsync(lab, machine, "incremental");
        await machine.CopyToAsync("vda", machine.OverlayPath("vda", "copy"), pivot: true, EngineLab.Token);
        await WriteAsync(machine, 5);
        await AssertNextAsync(lab, machine, "full", "another image");
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task PullThatRuns_IsRefusedAsBusy()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "slow");
        await SnapshotAsync(machine, "s");
        await machine.VirshAsync(["blockpull", machine.Name, "vda", "--bandwidth", "1"], EngineLab.Token);
        await AssertBusyAsync(lab, machine);
        await machine.EndCopyAsync("vda", EngineLab.Token);
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task SnapshotInsideTheImages_IsIncremental_RefusedReversionIsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "inside");
        await machine.SnapshotInsideAsync("i", keepRecord: true, EngineLab.Token);
        await WriteAsync(machine, 3);
        await AssertNextAsync(lab, machine, "incremental");
        // QEMU does not load a snapshot over bitmaps: the machine dies of the attempt.
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(
            () => machine.VirshAsync(["snapshot-revert", machine.Name, "i"], EngineLab.Token));
        Assert.Contains("dirty bitmaps", refused.Message, StringComparison.Ordinal);
        await machine.StartAsync(EngineLab.Token);
        var point = await AssertNextAsync(lab, machine, ["full", "full"], "inconsistent");
        Assert.All(point.Disks, disk => Assert.Contains("tidemark checkpoint release", disk.Reason, StringComparison.Ordinal));
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task OverlayMadeWhileOff_LacksTheBitmapAndIsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "overlaid");
        await machine.StopAsync(EngineLab.Token);
        var overlay = machine.OverlayPath("vda", "offline");
        await CreateOverlayAsync(machine, overlay, machine.ImagePath("vda"));
        await machine.PutImageAsync("vda", overlay, EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await WriteAsync(machine, 3);
        await AssertNextAsync(lab, machine, "full", "is missing on this disk");
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Theory]
    [InlineData(false)] // flattened: the same content, which nobody can know
    [InlineData(true)] // put on another base: other content, of which no bitmap knows
    public async Task RebasedWhileOff_IsFullAndSaysWhy(bool unsafely)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, $"rebased{unsafely}");
        await SnapshotAsync(machine, "s");
        await WriteAsync(machine, 3);
        await AssertNextAsync(lab, machine, "incremental");
        await machine.StopAsync(EngineLab.Token);
        var (overlay, other) = (machine.OverlayPath("vda", "s"), machine.OverlayPath("vda", "other"));
        await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", other, $"{8 * Mebi}"], EngineLab.Token);
        await Tool.RunAsync("qemu-io", ["-f", "qcow2", "-c", $"write -P 7 {6 * Mebi} {Mebi}", other], EngineLab.Token);
        fixture.Host.GiveToQemu(other);
        string[] options = unsafely ? ["-u", "-F", "qcow2", "-b", other] : ["-b", ""];
        await Tool.RunAsync("qemu-img", ["rebase", "-f", "qcow2", .. options, overlay], EngineLab.Token);
        await machine.PutImageAsync("vda", overlay, EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await AssertNextAsync(lab, machine, "full", "the images below");
        await AssertNextAsync(lab, machine, "incremental");
    }

    [Fact]
    public async Task OverlayThrownAwayAndMadeAnew_IsFull()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await StartAsync(lab, "thrown");
        await SnapshotAsync(machine, "s");
        await WriteAsync(machine, 3);
        await AssertNextAsync(lab, machine, "incremental");
        await machine.StopAsync(EngineLab.Token);
        await machine.PutImageAsync("vda", machine.ImagePath("vda"), EngineLab.Token);
        await machine.StartAsync(EngineLab.Token);
        await AssertNextAsync(lab, machine, "full", "was merged into it");
        await AssertNextAsync(lab, machine, "incremental");
    }

    private async Task<LabMachine> StartAsync(EngineLab lab, string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, $"bj-{name}", new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 4 * Mebi));
        await machine.WriteBytesAsync("vda", 0, Noise(1, 3 * Mebi), EngineLab.Token);
        await machine.WriteBytesAsync("vdb", Mebi, Noise(2, Mebi), EngineLab.Token);
        await lab.BackUpAsync(machine);
        await WriteAsync(machine, 1);
        return machine;
    }

    private static Task SnapshotAsync(LabMachine machine, string name) => machine.SnapshotAsync(name, ["vda"], EngineLab.Token);

    // Data over data, data over nothing, and data that goes.
    private static async Task WriteAsync(LabMachine machine, byte pattern)
    {
        await machine.WriteAsync("vda", pattern * 128 * 1024, 70_144, pattern, EngineLab.Token);
        await machine.WriteAsync("vda", (4 * Mebi) + (pattern * 200 * 1024), 4096, pattern, EngineLab.Token);
        await machine.DiscardAsync("vda", (2 * Mebi) + (pattern * 65536), 65536, EngineLab.Token);
        await machine.WriteAsync("vdb", pattern * 4096, 512, pattern, EngineLab.Token);
    }

    private static async Task CreateOverlayAsync(LabMachine machine, string overlay, string on)
    {
        await Tool.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", on, overlay], EngineLab.Token);
        machine.Host.GiveToQemu(overlay);
    }

    private static Task<PointInfo> AssertNextAsync(EngineLab lab, LabMachine machine, string mode, string reason = "") =>
        AssertNextAsync(lab, machine, [mode, "incremental"], reason);

    private static async Task<PointInfo> AssertNextAsync(EngineLab lab, LabMachine machine, string[] modes, string reason)
    {
        var point = await lab.AssertNextAsync(machine, modes);
        Assert.Contains(reason, point.Disks[0].Reason, StringComparison.Ordinal);
        await lab.AssertCleanAsync(machine);
        return point;
    }

    private static async Task AssertBusyAsync(EngineLab lab, LabMachine machine)
    {
        var refused = await Assert.ThrowsAsync<EngineException>(() => lab.BackUpAsync(machine));
        Assert.True(refused.Kind == FailureKind.Busy, refused.Message);
        Assert.Contains("block", refused.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(lab.Folders.Scratch));
        Assert.Empty(Directory.EnumerateFiles(lab.Folders.Journal));
    }

    private static byte[] Noise(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
