// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Lab;

namespace Tidemark.Libvirt.Tests;

/// <summary>The lab itself: what is written through QEMU is what is read back, and failures are seen.</summary>
public sealed class LabMachineTests(HostFixture fixture)
{
    private const long Mebibyte = 1 << 20;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WritesThroughQemu_AreTheContentOfTheDisk()
    {
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "writes",
            new LabDisk("vda", 4 * Mebibyte),
            new LabDisk("vdb", 2 * Mebibyte + 512) { Format = "raw" },
            new LabDisk("sda", Mebibyte) { Bus = "scsi" });
        foreach (var target in machine.Disks.ToArray())
        {
            var expected = new byte[(await machine.Domain.GetBlockInfoAsync(target, Token)).Capacity];
            await machine.WriteAsync(target, 0, Mebibyte, 0xAA, Token);
            expected.AsSpan(0, (int)Mebibyte).Fill(0xAA);
            var bytes = new byte[70_001];
            new Random(7).NextBytes(bytes);
            await machine.WriteBytesAsync(target, 12_345, bytes, Token);
            bytes.CopyTo(expected, 12_345);
            await machine.WriteZeroesAsync(target, 65_536, 65_536, unmap: true, Token);
            expected.AsSpan(65_536, 65_536).Clear();
            await machine.WriteZeroesAsync(target, 300_000, 1000, unmap: false, Token);
            expected.AsSpan(300_000, 1000).Clear();
            await machine.DiscardAsync(target, 524_288, 65_536, Token);
            expected.AsSpan(524_288, 65_536).Clear();

            Assert.Equal(expected, await machine.ReadDiskAsync(target, Token));
        }
        await machine.StopAsync(Token);
        Assert.Equal(0xAA, (await machine.ReadDiskAsync("vda", Token))[0]);
    }

    [Fact]
    public async Task WriteBeyondTheEnd_Throws()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "beyond", new LabDisk("vda", Mebibyte));

        var exception = await Assert.ThrowsAsync<InvalidOperationException>(() => machine.WriteAsync("vda", Mebibyte, 512, 1, Token));

        Assert.Contains("write", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AttachedAndResizedDisk_IsWritable()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "attach", new LabDisk("vda", Mebibyte));
        await machine.AttachAsync(new LabDisk("vdb", Mebibyte), Token);
        await machine.ResizeAsync("vdb", 2 * Mebibyte, Token);
        await machine.WriteAsync("vdb", Mebibyte, Mebibyte, 0x11, Token);

        var content = await machine.ReadDiskAsync("vdb", Token);

        Assert.Equal(2 * Mebibyte, content.Length);
        Assert.True(content.AsSpan(0, (int)Mebibyte).IndexOfAnyExcept((byte)0) < 0);
        Assert.True(content.AsSpan((int)Mebibyte).IndexOfAnyExcept((byte)0x11) < 0);
    }

    [Fact]
    public async Task TwoHostsAtOnce_KnowOnlyTheirOwnMachines()
    {
        await using var other = await LabHost.StartAsync(Token);
        await LabMachine.DefineAsync(fixture.Host, "mine", new LabDisk("vda", Mebibyte));
        await LabMachine.DefineAsync(other, "theirs", new LabDisk("vda", Mebibyte));

        Assert.DoesNotContain(await fixture.Host.Connection.ListDomainsAsync(Token), domain => domain.Name is "theirs");
        Assert.Equal("theirs", Assert.Single(await other.Connection.ListDomainsAsync(Token)).Name);
    }

    [Fact]
    public async Task DisposedHost_LeavesNoProcessAndNoFolder()
    {
        var host = await LabHost.StartAsync(Token);
        var machine = await LabMachine.DefineAsync(host, "brief", new LabDisk("vda", Mebibyte));
        var processes = new[] { machine.ProcessId, host.DaemonProcessId };
        var folder = host.Folder;
        Assert.All(processes, process => Assert.True(IsRunning(process)));

        await host.DisposeAsync();

        Assert.All(processes, process => Assert.False(IsRunning(process)));
        Assert.False(Directory.Exists(Path.GetDirectoryName(folder)));
    }

    [Fact]
    public async Task SystemHost_RunsQemuAsAnotherUser()
    {
        var reason = await LabHost.WhySystemUnavailableAsync(Token);
        Assert.SkipWhen(reason != null, reason ?? "");
        await using var host = await LabHost.StartSystemAsync(Token);
        var machine = await LabMachine.DefineAsync(
            host, "owned", new LabDisk("vda", Mebibyte), new LabDisk("vdb", Mebibyte) { Format = "raw" });
        await machine.WriteAsync("vdb", 0, 4096, 0x42, Token);

        var description = await machine.DescribeAsync(Token);
        var status = await File.ReadAllLinesAsync($"/proc/{machine.ProcessId}/status", Token);

        Assert.NotEqual(0, host.QemuUserId);
        Assert.Equal((host.QemuUserId, host.QemuGroupId), description.Owner);
        Assert.Contains(status, line => line.StartsWith($"Uid:\t{host.QemuUserId}\t", StringComparison.Ordinal));
        Assert.Equal(0x42, (await machine.ReadDiskAsync("vdb", Token))[4095]);
    }

    [Fact]
    public async Task FullScratch_FailsTheWriteAndKeepsTheBackup()
    {
        var reason = await LabHost.WhySystemUnavailableAsync(Token);
        Assert.SkipWhen(reason != null, reason ?? "");
        await using var host = await LabHost.StartSystemAsync(Token);
        var machine = await LabMachine.DefineAsync(host, "full", new LabDisk("vda", 4 * Mebibyte));
        await machine.WriteAsync("vda", 0, 4 * Mebibyte, 0x11, Token);
        var frozen = new FrozenMachine(machine, scratchFolder: host.SmallFolder);
        await frozen.BeginAsync(null, [("vda", null)], Token);

        var exception = await Assert.ThrowsAsync<InvalidOperationException>(() => machine.WriteAsync("vda", 0, 4 * Mebibyte, 0x22, Token));

        Assert.Contains("No space left on device", exception.Message, StringComparison.Ordinal);
        Assert.All(await frozen.ReadExportAsync("vda", Token), value => Assert.Equal(0x11, value));
        await machine.Domain.AbortJobAsync(Token);
    }

    /// <summary>Runs in a process of its own, which <see cref="KilledOwner_LeavesNothing"/> kills.</summary>
    [Fact(Explicit = true)]
    public async Task HostUntilKilled()
    {
        var host = await LabHost.StartAsync(Token);
        var machine = await LabMachine.DefineAsync(host, "orphan", new LabDisk("vda", Mebibyte));
        var news = Environment.GetEnvironmentVariable("TIDEMARK_LAB_NEWS")!;
        await File.WriteAllTextAsync(news + ".new", $"{host.Folder}\n{machine.ProcessId}\n{host.DaemonProcessId}\n", Token);
        File.Move(news + ".new", news);
        await Task.Delay(TimeSpan.FromMinutes(1), Token);
        await host.DisposeAsync();
    }

    [Fact]
    public async Task KilledOwner_LeavesNothing()
    {
        var news = Path.Combine(Path.GetTempPath(), $"tidemark-{Path.GetRandomFileName()}");
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        string[] arguments = ["exec", typeof(LabMachineTests).Assembly.Location, "-explicit", "only", "-method", "*.HostUntilKilled"];
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["TIDEMARK_LAB_NEWS"] = news;
        using var owner = Process.Start(start)!;
        await UntilAsync(() => File.Exists(news));
        var lines = await File.ReadAllLinesAsync(news, Token);
        File.Delete(news);
        var processes = lines[1..].Select(int.Parse).ToArray();
        Assert.All(processes, process => Assert.True(IsRunning(process)));

        owner.Kill();

        await UntilAsync(() => !Directory.Exists(Path.GetDirectoryName(lines[0])));
        Assert.All(processes, process => Assert.False(IsRunning(process)));
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        var clock = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(clock).TotalSeconds < 30, "The condition did not come true within 30 s.");
            await Task.Delay(20, Token);
        }
    }

    // A dead process nobody has waited for yet still has an entry, with an empty command line.
    private static bool IsRunning(int process) =>
        File.Exists($"/proc/{process}/cmdline") && File.ReadAllText($"/proc/{process}/cmdline").Length > 0;
}
