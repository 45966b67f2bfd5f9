// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Nodes;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Tests;

/// <summary>The journal of a host outlives the version that wrote it: an update must not strand what a dead run left.</summary>
public sealed class JournalTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("tidemark-journal").FullName;

    [Fact]
    public async Task EntryOfAnOlderVersion_WithoutTheLaterFields_IsRead()
    {
        var token = TestContext.Current.CancellationToken;
        var journal = new Journal(new HostFolders(_root, _root));
        var entry = NewEntry();
        await journal.WriteAsync(entry, token);
        var file = journal.FileOf(entry.Run);
        var text = JsonNode.Parse(await File.ReadAllTextAsync(file, token))!.AsObject();
        foreach (var later in (string[])["mayFreeze", "afterThaw", "thawOwed"])
            Assert.True(text.Remove(later));
        await File.WriteAllTextAsync(file, text.ToJsonString(), token);

        var read = Assert.Single(await journal.OfMachineAsync(entry.MachineUuid, token));

        Assert.Empty(read.AfterThaw);
        Assert.Equal(entry with { AfterThaw = [] }, read with { AfterThaw = [], Disks = entry.Disks });
    }

    [Fact]
    public async Task InterruptedWrite_LeavesTheEntryBeforeAndNothingElse()
    {
        var journal = new Journal(new HostFolders(_root, _root));
        var entry = NewEntry();
        await journal.WriteAsync(entry, TestContext.Current.CancellationToken);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => journal.WriteAsync(entry with { ThawOwed = true }, new CancellationToken(canceled: true)));

        var file = Assert.Single(Directory.EnumerateFiles(Path.GetDirectoryName(journal.FileOf(entry.Run))!));
        Assert.Equal(journal.FileOf(entry.Run), file);
        Assert.False((await journal.ReadAsync(entry.Run, TestContext.Current.CancellationToken))!.ThawOwed);
    }

    /// <summary>A guardian that took an entry it cannot read for none would leave a guest frozen.</summary>
    [Fact]
    public async Task EntryThatCannotBeRead_IsNotTakenForNone()
    {
        var journal = new Journal(new HostFolders(_root, _root));
        var run = Guid.NewGuid();
        Assert.Null(await journal.ReadAsync(run, TestContext.Current.CancellationToken));
        Directory.CreateDirectory(journal.FileOf(run));

        await Assert.ThrowsAnyAsync<Exception>(() => journal.ReadAsync(run, TestContext.Current.CancellationToken));
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static JournalEntry NewEntry() => new()
    {
        Run = Guid.NewGuid(),
        Process = 1,
        MachineUuid = Guid.NewGuid().ToString("d"),
        MachineName = "web",
        Connect = null,
        Repository = "/srv/backup",
        RepositoryPart = "0123abcd",
        Checkpoint = "tidemark-1",
        Folder = "/run/x",
        Disks = ["vda"],
    };
}
