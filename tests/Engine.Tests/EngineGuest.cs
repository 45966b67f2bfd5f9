// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Points;
using Tidemark.Lab.Guests;
using Tidemark.Libvirt;
using Tidemark.Qemu;

namespace Tidemark.Engine.Tests;

/// <summary>A running Linux guest that writes files, and what a test may ask of it.</summary>
internal sealed class EngineGuest : IAsyncDisposable
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(120); // boots in 3 to 6 s; a busy machine takes longer

    private readonly EngineLab _lab;

    private EngineGuest(EngineLab lab, Domain domain, GuestLog log)
    {
        _lab = lab;
        Domain = domain;
        Log = log;
        Commands = new GuestCommands(domain);
    }

    public Domain Domain { get; }

    public GuestLog Log { get; }

    public GuestCommands Commands { get; }

    /// <summary>Starts a guest and waits until it writes and its agent answers.</summary>
    /// <param name="lab">Where.</param>
    /// <param name="name">The machine's name.</param>
    /// <param name="comesBack">A reboot from inside boots it again; else it stops the machine.</param>
    public static async Task<EngineGuest> StartAsync(EngineLab lab, string name, bool comesBack = false)
    {
        var image = await GuestImage.BuildAsync(GuestImage.DefaultCacheFolder, EngineLab.Token);
        var disk = new GuestDisk(Path.Combine(lab.Host.Folder, $"{name}.qcow2"), "qcow2");
        await QemuImg.CreateAsync(ImageRef.File(disk.Path, disk.Format), 256 << 20, EngineLab.Token);
        lab.Host.GiveToQemu(disk.Path);
        var definition = new GuestDefinition
        {
            Name = name,
            Image = image,
            Disks = [disk],
            KeptFiles = 120, // so that some are left however long a busy machine takes between two looks at the log
            ConsoleLog = Path.Combine(lab.Host.Folder, $"{name}.log"),
        };
        var xml = definition.DomainXml();
        if (comesBack)
            xml = xml.Replace("<on_reboot>destroy<", "<on_reboot>restart<", StringComparison.Ordinal);
        var domain = await lab.Host.Connection.DefineDomainAsync(xml, validate: true, EngineLab.Token);
        await domain.StartAsync(cancellationToken: EngineLab.Token);
        var guest = new EngineGuest(lab, domain, new GuestLog(definition.ConsoleLog));
        await guest.Commands.WaitUntilBootedAsync(Limit, EngineLab.Token);
        await guest.WorkAsync(15);
        return guest;
    }

    /// <summary>Lets the guest make more files durable.</summary>
    public Task WorkAsync(int files) => Log.WaitForWritesAsync(files, Limit, EngineLab.Token);

    public async Task<PointInfo> BackUpAsync(BackupOptions? options = null) =>
        await BackupRun.RunAsync(_lab.Context(), Domain.Uuid.ToString("d"), options ?? new BackupOptions(), EngineLab.Token);

    /// <summary>Seconds that libvirt waits for the agent; -2 (for ever) is its default. Only its own state file tells.</summary>
    public int AgentTimeout()
    {
        var state = Path.Combine(Path.GetDirectoryName(_lab.Host.Folder)!, "run", "libvirt", "qemu", "run", $"{Domain.Name}.xml");
        return int.Parse(XDocument.Load(state).Root!.Element("agentTimeout")!.Value);
    }

    /// <summary>Waits until no run owes anything any more; fails when that takes too long.</summary>
    public async Task WaitUntilNothingIsOwedAsync(TimeSpan limit)
    {
        for (var begun = TimeProvider.System.GetTimestamp(); Directory.EnumerateFiles(_lab.Folders.Journal, "*.json").Any();)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(begun) < limit, "A journal entry is still there.");
            await Task.Delay(200, EngineLab.Token);
        }
    }

    /// <summary>Fails unless the guest runs on, thawed, with nothing of a run on it.</summary>
    public async Task AssertUntouchedAsync(int checkpoints)
    {
        Assert.Equal("thawed", await Commands.FreezeStatusAsync(EngineLab.Token));
        Assert.Equal(-2, AgentTimeout());
        Assert.False((await Domain.GetJobStatsAsync(cancellationToken: EngineLab.Token)).IsActive);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_lab.Folders.Scratch));
        Assert.Empty(Directory.EnumerateFiles(_lab.Folders.Journal));
        Assert.Equal(checkpoints, (await Domain.ListCheckpointsAsync(EngineLab.Token)).Count);
        await WorkAsync(2);
    }

    public async ValueTask DisposeAsync()
    {
        if ((await Domain.GetStatusAsync(CancellationToken.None)).IsActive)
            await Domain.DestroyAsync(CancellationToken.None);
    }
}
