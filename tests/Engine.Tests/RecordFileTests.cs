// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Tests;

/// <summary>Records on disk: old or new, never half, and no name in them leads anywhere.</summary>
public sealed class RecordFileTests : IDisposable
{
    private const string Uuid = "0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11";
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"tm-{Guid.NewGuid():n}"[..11]);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private string FilePath => Path.Combine(_folder, Uuid + ".json");

    [Fact]
    public async Task Records_AreReadAsWritten_WhateverTheNames()
    {
        string[] names = ["../x", "a/b", "..", "/etc/passwd", "ümlaut", "a\nb", "\0", new string('é', 127) + "x", "tidemark-0"];
        var written = Records(names);
        var file = new RecordFile(_folder, Uuid);
        file.Write(written);
        var read = await file.ReadAsync(Token);
        Assert.Equal(written.Checkpoints.Select(record => record.Name), read!.Checkpoints.Select(record => record.Name));
        Assert.Equal(written.Current, read.Current);
        Assert.Equal(written.Checkpoints[0].Disks, read.Checkpoints[0].Disks);
        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public async Task NoFile_IsNoRecords()
    {
        Assert.Null(await new RecordFile(_folder, Uuid).ReadAsync(Token));
        Directory.CreateDirectory(_folder);
        Assert.Null(await new RecordFile(_folder, Uuid).ReadAsync(Token));
    }

    [Fact]
    public async Task FileCutOffAnywhere_IsRefused_AndReplacedByTheNextWrite()
    {
        var file = new RecordFile(_folder, Uuid);
        file.Write(Records("a", "b"));
        var whole = await File.ReadAllBytesAsync(FilePath, Token);
        for (var length = 0; length < whole.Length; length++)
        {
            await File.WriteAllBytesAsync(FilePath, whole[..length], Token);
            await Assert.ThrowsAsync<EngineException>(() => file.ReadAsync(Token));
        }

        file.Write(Records("c"));
        Assert.Equal("c", Assert.Single((await file.ReadAsync(Token))!.Checkpoints).Name);
    }

    [Fact]
    public async Task FileWithAnyByteWrong_IsRefusedOrStillRecords()
    {
        var file = new RecordFile(_folder, Uuid);
        file.Write(Records("a"));
        var whole = await File.ReadAllBytesAsync(FilePath, Token);
        var refused = 0;
        for (var at = 0; at < whole.Length; at++)
        {
            var bytes = whole.ToArray();
            bytes[at] ^= 0x21;
            await File.WriteAllBytesAsync(FilePath, bytes, Token);
            try
            {
                Assert.NotNull((await file.ReadAsync(Token))!.Checkpoints);
            }
            catch (EngineException e)
            {
                Assert.Contains(FilePath, e.Message, StringComparison.Ordinal);
                refused++;
            }
        }

        Assert.True(refused > whole.Length / 4, $"{refused} of {whole.Length} refused.");
    }

    [Theory]
    [InlineData("""{"v":1,"machine":"0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11","checkpoints":null}""")]
    [InlineData("""{"v":1,"machine":"0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11","checkpoints":[null]}""")]
    [InlineData("""{"v":1,"machine":"11111111-5a3e-4c1e-9d2f-2f6d6c1f0a11","checkpoints":[]}""")]
    [InlineData("""{"v":2,"machine":"0b7f3a52-5a3e-4c1e-9d2f-2f6d6c1f0a11","checkpoints":[]}""")]
    [InlineData("null")]
    [InlineData("[]")]
    public async Task FileThatSaysSomethingElse_IsRefused(string text)
    {
        Directory.CreateDirectory(_folder);
        await File.WriteAllTextAsync(FilePath, text, Token);
        await Assert.ThrowsAsync<EngineException>(() => new RecordFile(_folder, Uuid).ReadAsync(Token));
    }

    [Fact]
    public async Task DeathBeforeTheRename_LeavesTheOldRecords_AndTheNextWriteCleansUp()
    {
        var file = new RecordFile(_folder, Uuid, "host");
        file.Write(Records("old"));
        var beside = Path.Combine(_folder, $"{Uuid}.json.{RecordFile.HostPart("host")}.new");
        await File.WriteAllTextAsync(beside, """{"v":1,"mach""", Token);
        Assert.Equal("old", Assert.Single((await file.ReadAsync(Token))!.Checkpoints).Name);
        file.Write(Records("new"));
        Assert.Equal("new", Assert.Single((await file.ReadAsync(Token))!.Checkpoints).Name);
        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public async Task WriteThatFails_SaysSo_AndLeavesTheOldRecords()
    {
        var file = new RecordFile(_folder, Uuid, "host");
        file.Write(Records("old"));
        Directory.CreateDirectory(Path.Combine(_folder, $"{Uuid}.json.{RecordFile.HostPart("host")}.new"));
        var failure = Assert.Throws<EngineException>(() => file.Write(Records("new")));
        Assert.Contains("cannot be written", failure.Message, StringComparison.Ordinal);
        Assert.Equal("old", Assert.Single((await file.ReadAsync(Token))!.Checkpoints).Name);
    }

    [Fact]
    public async Task TwoHostsWritingOneFolder_NeverLeaveHalfOfEither()
    {
        var versions = Enumerable.Range(0, 2).Select(host => Records([.. Enumerable.Range(0, 40).Select(i => $"{host}-{i}")])).ToList();
        using var over = new CancellationTokenSource();
        var writers = versions.Select((records, host) => Task.Run(
            () =>
            {
                for (var round = 0; round < 60; round++)
                {
                    var other = records with { Current = round % 2 == 0 ? records.Current : null };
                    new RecordFile(_folder, Uuid, $"host{host}").Write(other);
                }
            },
            Token)).ToList();
        var reading = Task.Run(
            async () =>
            {
                var seen = 0;
                while (!over.IsCancellationRequested)
                {
                    if (await new RecordFile(_folder, Uuid, "reader").ReadAsync(CancellationToken.None) is not { } found)
                        continue;
                    Assert.Single(found.Checkpoints.Select(record => record.Name[0]).Distinct());
                    Assert.Equal(40, found.Checkpoints.Count);
                    seen++;
                }

                return seen;
            },
            Token);
        await Task.WhenAll(writers);
        await over.CancelAsync();
        Assert.True(await reading > 0);
        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public async Task HomeThatCannotBeUsed_IsAWarningAndTheOtherServes()
    {
        Directory.CreateDirectory(_folder);
        var blocked = Path.Combine(_folder, "blocked");
        await File.WriteAllTextAsync(blocked, "", Token);
        var homes = new RecordHomes(new Runs.HostFolders(blocked, _folder), Path.Combine(_folder, "shared"), Uuid);
        var told = new List<string>();
        await homes.WriteAsync(Machine("c1"), Records("c1", "gone").Checkpoints, [], "c1", null, told.Add, Token);
        Assert.Contains(blocked, Assert.Single(told), StringComparison.Ordinal);
        var shared = Path.Combine(_folder, "shared", $"{Uuid}.json");
        Assert.Equal(["c1", "gone"], (await homes.ReadAsync(told.Add, Token)).Select(record => record.Name));
        Assert.Single(told);
        await File.WriteAllTextAsync(shared, "{", Token);
        Assert.Empty(await homes.ReadAsync(told.Add, Token));
        Assert.Contains(shared, told[1], StringComparison.Ordinal);
    }

    [Fact]
    public void WrittenDown_AreTheHypervisorsRecords_AndForgottenOnesWhoseBitmapsAreLeft()
    {
        const string mine = "tidemark-00000001-0123456789abcdef0123456789abcdef";
        const string others = "tidemark-00000002-0123456789abcdef0123456789abcdef";
        var earlier = Records("known", "forgotten", "gone", others, mine.Replace("0123", "9999", StringComparison.Ordinal));
        var known = Records("known", mine).Checkpoints.Select(record => record with { Disks = [new TrackedDisk("vda")] }).ToList();
        var own = Records(mine).Checkpoints.Select(record => record with { Disks = [new TrackedDisk("vda", null, 7)] }).ToList();
        var next = MachineCheckpoints.Of(
            Machine(["known", "forgotten", others, mine.Replace("0123", "9999", StringComparison.Ordinal)]),
            known, own, earlier with { Definition = "<domain/>" }, mine, null);
        Assert.Equal("<domain/>", next.Definition); // what was known before, until there is news
        Assert.Equal(
            new[] { "known", "forgotten", others, mine }.Order(StringComparer.Ordinal),
            next.Checkpoints.Select(record => record.Name).Order(StringComparer.Ordinal));
        Assert.Equal(mine, next.Current);
        Assert.Equal(7, next.Checkpoints.Single(record => record.Name == mine).Disks[0].Size);
        Assert.Equal(
            earlier.Checkpoints.Single(record => record.Name == "known").Disks.Take(1), // with the image that was noted
            next.Checkpoints.Single(record => record.Name == "known").Disks);
    }

    public void Dispose()
    {
        if (Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true);
    }

    private static MachineCheckpoints Records(params string[] names) => new()
    {
        V = 1,
        Machine = Uuid,
        Current = names[^1],
        Checkpoints = names.Select((name, i) => new CheckpointRecord
        {
            Name = name,
            Created = Start.AddSeconds(i),
            Disks = [new TrackedDisk("vda", new ImageIdentity("/a.qcow2", "8:1", "42", "1.000000001"), 4096), new TrackedDisk("../vdb")],
        }).ToList(),
    };

    private static Machine Machine(params string[] bitmaps) => new()
    {
        Name = "../m",
        Uuid = Uuid,
        Host = "h",
        State = MachineState.Running,
        Disks =
        [
            new MachineDisk
            {
                Name = "vda",
                Kind = "file",
                Format = "qcow2",
                Path = null,
                Serial = null,
                Size = 1,
                Identity = null,
                Untrackable = null,
                Bitmaps = bitmaps.ToDictionary(name => name, _ => BitmapHealth.Recording, StringComparer.Ordinal),
            },
        ],
        NotProtected = [],
        AgentConnected = false,
        JobActive = false,
    };
}
