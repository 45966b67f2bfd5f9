// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Tidemark.Engine.Points;
using Tidemark.Lab;
using Tidemark.Lab.Guests;
using Tidemark.Libvirt;

namespace Tidemark.Crash.Tests;

/// <summary>
/// A real guest that writes files to its disk vda and answers through its agent, with a second disk, vdb, that only the test
/// writes: its content is known at every moment.
/// </summary>
public sealed class CrashGuest
{
    public const string Disk = "vda";
    public const string QuietDisk = "vdb";

    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan ThawLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan WriteLimit = TimeSpan.FromSeconds(30);

    private CrashGuest(LabMachine machine, GuestLog log, int quietBytes)
    {
        Machine = machine;
        Log = log;
        Quiet = new byte[quietBytes];
    }

    public LabMachine Machine { get; }

    public GuestLog Log { get; }

    /// <summary>What the quiet disk holds now.</summary>
    public byte[] Quiet { get; }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static async Task<CrashGuest> StartAsync(LabHost host, string name, int quietBytes)
    {
        var definition = new GuestDefinition
        {
            Name = name,
            Image = await GuestImage.BuildAsync(GuestImage.DefaultCacheFolder, Token),
            Disks = [],
            ConsoleLog = Path.Combine(host.Folder, $"{name}.log"),
            PaceMilliseconds = 200,
            KeptFiles = 60,
        };
        var document = XElement.Parse(definition.DomainXml());
        var options = new LabMachineOptions
        {
            MemoryMiB = definition.MemoryMiB,
            AgentChannel = true,
            Boot = document.Element("os")!.Elements().Where(element => element.Name != "type").ToList(),
            Devices = document.Descendants("serial").ToList(),
        };
        var machine = await LabMachine.DefineAsync(host, name, options, [new LabDisk(Disk, 128 << 20)], Token);
        var guest = new CrashGuest(machine, new GuestLog(definition.ConsoleLog), quietBytes);
        await machine.Domain.ResumeAsync(Token);
        await guest.Log.WaitForAsync("READY mode=writer disks=1", BootLimit, Token);
        await guest.Log.WaitForWritesAsync(5, BootLimit, Token);
        while (!(await machine.DescribeAsync(Token)).IsAgentConnected)
            await Task.Delay(50, Token);
        // Only now: a disk that is there at the start would be formatted.
        await machine.AttachAsync(new LabDisk(QuietDisk, quietBytes), Token);
        return guest;
    }

    /// <summary>Writes random bytes somewhere on the quiet disk.</summary>
    public async Task DisturbAsync(Random random, int length)
    {
        var offset = 512 * random.Next(0, (Quiet.Length - length) / 512 + 1);
        var bytes = Quiet.AsMemory(offset, length);
        random.NextBytes(bytes.Span);
        await Machine.WriteBytesAsync(QuietDisk, offset, bytes, Token);
    }

    /// <summary>"thawed" or "frozen", by the guest's own word.</summary>
    public async Task<string> FreezeStatusAsync() => (await AgentAsync("guest-fsfreeze-status")).GetString()!;

    /// <summary>Runs a shell command in the guest and does not wait for it.</summary>
    public Task RunAsync(string command) =>
        AgentAsync("guest-exec", new JsonObject { ["path"] = "/bin/sh", ["arg"] = new JsonArray("-c", command) });

    /// <summary>Fails unless the guest runs, is thawed within the guardian's limit after a death, and goes on writing files.</summary>
    public async Task AssertRunsAsync(long died)
    {
        while (await FreezeStatusAsync() is var status && status != "thawed")
        {
            Assert.True(
                Stopwatch.GetElapsedTime(died) < ThawLimit, $"The guest is {status} {ThawLimit.TotalSeconds} s after the backup's death.");
            await Task.Delay(50, Token);
        }

        Assert.Equal(DomainState.Running, (await Machine.Domain.GetStatusAsync(Token)).State);
        await Log.WaitForWritesAsync(1, WriteLimit, Token);
    }

    /// <summary>Fails unless the point's vda is a clean file system with every file acknowledged before and not gone after.</summary>
    public async Task AssertFilesAsync(CrashLab lab, PointInfo point, long before, long after)
    {
        var files = await Log.FilesAsync(before, after, Token);
        Assert.NotEmpty(files);
        var path = await lab.RestoreAsync(point, Disk);
        (await GuestFiles.VerifyAsync(path, files, point.Consistency == "filesystem", Token)).EnsureWhole();
        File.Delete(path);
    }

    private async Task<JsonElement> AgentAsync(string command, JsonObject? arguments = null)
    {
        var request = new JsonObject { ["execute"] = command };
        if (arguments is not null)
            request["arguments"] = arguments;
        var answer = await Tool.RunAsync(
            "virsh", ["-q", "-c", Machine.Host.Uri, "qemu-agent-command", "--timeout", "8", Machine.Name, request.ToJsonString()], Token);
        using var document = JsonDocument.Parse(answer);
        return document.RootElement.GetProperty("return").Clone();
    }
}
