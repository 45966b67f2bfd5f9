// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Tidemark.Lab.Guests;
using Tidemark.Qemu;
using Tidemark.Qemu.Qmp;

namespace Tidemark.Guest.Tests;

/// <summary>The lab guest under plain QEMU: it boots, writes, is judged from outside and by itself, and damage is seen by both.</summary>
public sealed class GuestTests : IAsyncLifetime
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(60); // boots in 3 to 6 s; a busy machine takes longer
    private readonly string _folder = Directory.CreateTempSubdirectory("tgt").FullName;
    private GuestImage _image = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _image = await GuestImage.BuildAsync(GuestImage.DefaultCacheFolder, Token);

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task WrittenFiles_AreWholeFromOutsideAndAfterABoot_UntilOneByteChanges()
    {
        var disks = await DisksAsync(2);
        var log = new GuestLog(InFolder("writer.log"));
        var writer = Definition(disks, GuestMode.Writer, "writer.log") with { KeptFiles = 20, PaceMilliseconds = 0 };
        long before;
        await using (var machine = await OwnedProcess.StartAsync("qemu-system-x86_64", writer.QemuArguments(qmpSocket: InFolder("q"))))
        {
            await log.WaitForAsync("READY mode=writer disks=2", BootLimit, Token);
            await log.WaitForWritesAsync(60, BootLimit, Token);
            await using var qmp = await QmpClient.ConnectAsync(InFolder("q"), Token);
            before = log.Position;
            await qmp.ExecuteAsync("stop", null, Token);
            await qmp.ExecuteAsync("quit", null, Token);
            Assert.Equal(0, await machine.Ended);
        }

        // The machine was stopped in the middle of its work, so the file systems are as after a loss of power.
        var files = await log.FilesAsync(before, log.Position, Token);
        Assert.InRange(files.Count, 5, 40);
        Assert.Contains("GONE", await log.ReadAsync(Token), StringComparison.Ordinal);
        foreach (var (number, disk) in disks.Index())
        {
            var its = files.Where(file => file.Disk == $"vd{(char)('a' + number)}").ToList();
            var report = await GuestFiles.VerifyAsync(disk.Path, its, frozen: false, Token);
            report.EnsureWhole();
            Assert.True(report.FileCount > 0);
        }

        var check = Definition(disks, GuestMode.Check, "check.log") with { ExpectedFiles = files.Count };
        Assert.StartsWith("CHECK OK files=", await RunAsync(check), StringComparison.Ordinal);
        Assert.StartsWith("CHECK BAD files=", await RunAsync(check with { ExpectedFiles = 10_000 }), StringComparison.Ordinal);
        await DamageAsync(disks[0].Path);
        Assert.StartsWith("CHECK BAD vda", await RunAsync(check), StringComparison.Ordinal);
        var damaged = await GuestFiles.VerifyAsync(disks[0].Path, [.. files.Where(f => f.Disk == "vda")], frozen: true, Token);
        Assert.Contains(damaged.Problems, problem => problem.Contains("has other content", StringComparison.Ordinal));
        Assert.Contains(damaged.Problems, problem => problem.Contains("is missing", StringComparison.Ordinal));
    }

    [Fact]
    public async Task FrozenDisk_IsCleanWithoutRecovery_AndHoldsEveryAcknowledgedFile()
    {
        var disks = await DisksAsync(1);
        var log = new GuestLog(InFolder("console.log"));
        var machine = Definition(disks, GuestMode.Writer, "console.log");
        await using var qemu = await OwnedProcess.StartAsync(
            "qemu-system-x86_64", machine.QemuArguments(agentSocket: InFolder("a"), qmpSocket: InFolder("q")));
        await log.WaitForAsync("READY", BootLimit, Token);
        await log.WaitForWritesAsync(15, BootLimit, Token);
        await using var agent = await GuestAgent.ConnectAsync(InFolder("a"), Token);
        var before = log.Position;
        Assert.Equal(1, (await agent.ExecuteAsync("guest-fsfreeze-freeze", Token)).GetInt32());
        Assert.Equal("frozen", (await agent.ExecuteAsync("guest-fsfreeze-status", Token)).GetString());
        await using (var qmp = await QmpClient.ConnectAsync(InFolder("q"), Token))
        {
            await qmp.ExecuteAsync("stop", null, Token);
            await OwnedProcess.RunAsync("cp", ["--sparse=always", disks[0].Path, InFolder("frozen.raw")], "copy", Token);
            await qmp.ExecuteAsync("cont", null, Token);
        }

        Assert.Equal(1, (await agent.ExecuteAsync("guest-fsfreeze-thaw", Token)).GetInt32());
        await log.WaitForWritesAsync(10, BootLimit, Token);
        var files = await log.FilesAsync(before, log.Position, Token);
        Assert.NotEmpty(files);
        (await GuestFiles.VerifyAsync(InFolder("frozen.raw"), files, frozen: true, Token)).EnsureWhole();
    }

    [Fact]
    public async Task PausedAgent_IsSilentAndComesBack()
    {
        var log = new GuestLog(InFolder("console.log"));
        var machine = Definition([], GuestMode.Idle, "console.log");
        await using var qemu = await OwnedProcess.StartAsync("qemu-system-x86_64", machine.QemuArguments(agentSocket: InFolder("a")));
        await log.WaitForAsync("READY", BootLimit, Token);
        await using var agent = await GuestAgent.ConnectAsync(InFolder("a"), Token);
        var pause = new JsonObject { ["path"] = "/bin/agent-pause", ["arg"] = new JsonArray("3") };
        await agent.ExecuteAsync("guest-exec", Token, pause);
        await Task.Delay(1800, Token);
        var ping = agent.ExecuteAsync("guest-ping", Token);
        await Assert.ThrowsAsync<TimeoutException>(() => ping.WaitAsync(TimeSpan.FromSeconds(1), Token));
        await ping.WaitAsync(TimeSpan.FromSeconds(20), Token);
    }

    [Fact]
    public void DomainDocument_EscapesWhatItIsGiven()
    {
        var definition = Definition([new("/x/a&b.qcow2", "qcow2"), new("/x/c", "raw")], GuestMode.Check, "c.log") with { Name = "<m>" };
        var root = XElement.Parse(definition.DomainXml());
        Assert.Equal("<m>", root.Element("name")!.Value);
        Assert.Equal("/x/a&b.qcow2 /x/c", Values(root, "source", "file"));
        Assert.Equal("vda vdb", Values(root, "target", "dev"));
        Assert.Contains("tidemark.mode=check", root.Element("os")!.Element("cmdline")!.Value, StringComparison.Ordinal);
    }

    private static string Values(XElement root, string element, string attribute) =>
        string.Join(' ', root.Descendants("disk").Select(disk => disk.Element(element)!.Attribute(attribute)!.Value));

    private string InFolder(string name) => Path.Combine(_folder, name);

    private GuestDefinition Definition(IReadOnlyList<GuestDisk> disks, GuestMode mode, string consoleLog) =>
        new() { Name = "guest", Image = _image, Disks = disks, Mode = mode, ConsoleLog = InFolder(consoleLog) };

    private async Task<IReadOnlyList<GuestDisk>> DisksAsync(int count)
    {
        var disks = Enumerable.Range(0, count).Select(number => new GuestDisk(InFolder($"disk{number}.raw"), "raw")).ToList();
        foreach (var disk in disks)
            await QemuImg.CreateAsync(ImageRef.File(disk.Path, "raw"), 128 << 20, Token);
        return disks;
    }

    private async Task<string> RunAsync(GuestDefinition check)
    {
        File.Delete(check.ConsoleLog!);
        await using var machine = await OwnedProcess.StartAsync("qemu-system-x86_64", check.QemuArguments());
        var verdict = await new GuestLog(check.ConsoleLog!).WaitForAsync("CHECK", BootLimit, Token);
        Assert.Equal(0, await machine.Ended.WaitAsync(BootLimit, Token));
        return verdict;
    }

    // Changes one byte in the first data block of the first file, found through the file system's own map.
    private static async Task DamageAsync(string image)
    {
        var (_, listing) = await OwnedProcess.RunAsync("debugfs", ["-R", "ls -p /files", image], "list the files", Token);
        var entries = listing.Split('\n').Select(line => line.Split('/')).Where(fields => fields.Length > 5);
        var name = entries.Select(fields => fields[5]).First(entry => entry.Contains('-', StringComparison.Ordinal));
        var (_, blocks) = await OwnedProcess.RunAsync("debugfs", ["-R", $"bmap /files/{name} 0", image], "find its block", Token);
        var (_, header) = await OwnedProcess.RunAsync("debugfs", ["-R", "stats -h", image], "find the block size", Token);
        var size = header.Split('\n').First(line => line.StartsWith("Block size:", StringComparison.Ordinal)).Split(':')[1];
        await using var file = File.Open(image, FileMode.Open);
        file.Position = long.Parse(blocks.Trim(), null) * int.Parse(size, null) + 100;
        var value = file.ReadByte();
        file.Position--;
        file.WriteByte((byte)(value ^ 0x40));
    }
}
