// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Nodes;
using Tidemark.Lab;
using Tidemark.Libvirt;

namespace Tidemark.Cli.Tests;

/// <summary>Checkpoints listed, carried from one record of them to another, and let go, by the command line on a real libvirt.</summary>
public sealed class CheckpointCommandTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    private static CancellationToken Token => CommandLine.Token;

    [Fact]
    public async Task Listing_ShowsOursAndForeign_ParentsFirst_WithHealthAndWhatChanged_PageByPage()
    {
        using var command = new CommandLine(fixture.Host);
        using var other = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        (await other.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "listed", new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", Mebi));
        await CreateAsync(machine, "theirs", "vda");
        (await command.RunAsync("backup", "listed")).AssertDone();
        (await other.RunAsync("backup", "listed")).AssertDone();
        await machine.WriteAsync("vda", Mebi, 2 * Mebi, 9, Token);
        var all = (await command.RunAsync("checkpoint", "list", "listed", "--json")).AssertDone().Json;
        var found = all.GetProperty("checkpoints").EnumerateArray().ToList();
        Assert.Equal(
            ["foreign", "this repository", "repository"], found.Select(item => item.GetProperty("lineage").GetString()!.Split(' ') switch
        {
            ["repository", _] => "repository",
            var words => string.Join(' ', words),
        }));
        Assert.Equal(JsonValueKind.Null, found[0].GetProperty("parent").ValueKind);
        Assert.Equal("theirs", found[1].GetProperty("parent").GetString());
        Assert.Equal(found[1].GetProperty("name").GetString(), found[2].GetProperty("parent").GetString());
        Assert.All(found.SelectMany(item => item.GetProperty("disks").EnumerateArray()), disk =>
        {
            Assert.Equal("recording", disk.GetProperty("health").GetString());
            Assert.Equal(
                disk.GetProperty("name").GetString() == "vda" ? 2 * Mebi : 0, disk.GetProperty("changedBytes").GetInt64());
        });

        var paged = new List<string>();
        for (string? after = null; ;)
        {
            string[] more = after is null ? [] : ["--after", after];
            var page = (await command.RunAsync(["checkpoint", "list", "listed", "--limit", "1", "--json", .. more])).AssertDone().Json;
            paged.Add(Assert.Single(page.GetProperty("checkpoints").EnumerateArray()).GetProperty("name").GetString()!);
            after = page.GetProperty("next").GetString();
            if (after is null)
                break;
        }

        Assert.Equal(found.Select(item => item.GetProperty("name").GetString()!), paged);
        (await command.RunAsync("checkpoint", "list", "listed", "--after", "unknown")).AssertRefused(2, "no checkpoint 'unknown'");
        Assert.Contains("theirs", (await command.RunAsync("checkpoint", "list", "listed")).AssertDone().Output, StringComparison.Ordinal);

        // A record is lost: its bitmaps are still shown. Off, the images tell.
        await machine.Domain.DeleteCheckpointAsync("theirs", CheckpointDeleteFlags.MetadataOnly, Token);
        await machine.StopAsync(Token);
        var off = (await command.RunAsync("checkpoint", "list", "listed", "--json")).AssertDone().Json;
        Assert.Equal("theirs", Assert.Single(off.GetProperty("withoutRecord").EnumerateArray()).GetProperty("name").GetString());
        Assert.Equal("recording", off.GetProperty("checkpoints")[0].GetProperty("disks")[0].GetProperty("health").GetString());
    }

    [Fact]
    public async Task ExportedRecords_AreImportedAgain_AndAgain()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "exported", new LabDisk("vda", 4 * Mebi));
        await CreateAsync(machine, "one", "vda");
        (await command.RunAsync("backup", "exported")).AssertDone();
        await CreateAsync(machine, "three", "vda");
        var file = Path.Combine(command.Root, "records.json");
        Assert.Equal(3, (await command.RunAsync("checkpoint", "export", "exported", file, "--json")).AssertDone()
            .Json.GetProperty("checkpoints").GetInt32());
        var noted = JsonNode.Parse(await File.ReadAllTextAsync(file, Token))!;
        Assert.Contains("<name>exported</name>", (string?)noted["definition"], StringComparison.Ordinal);
        noted["definition"] = null;
        var compact = (await command.RunAsync("checkpoint", "export", "exported", "--compact")).AssertDone().Output;
        Assert.True(JsonNode.DeepEquals(noted, JsonNode.Parse(compact)));
        var streamed = (await command.RunAsync("checkpoint", "export", "exported")).AssertDone().Output;
        Assert.Equal(await File.ReadAllTextAsync(file, Token), streamed.TrimEnd('\n'));

        // In any order: the document is sorted by whoever reads it.
        var document = JsonNode.Parse(await File.ReadAllTextAsync(file, Token))!;
        document["checkpoints"] = new JsonArray([.. document["checkpoints"]!.AsArray().Reverse().Select(record => record!.DeepClone())]);
        await File.WriteAllTextAsync(file, document.ToJsonString(), Token);
        var before = await machine.Domain.ListCheckpointsAsync(Token);
        foreach (var name in before.Reverse())
            await machine.Domain.DeleteCheckpointAsync(name, CheckpointDeleteFlags.MetadataOnly, Token);
        var imported = (await command.RunAsync("checkpoint", "import", "exported", file, "--json")).AssertDone().Json;
        Assert.Equal(before, imported.GetProperty("added").EnumerateArray().Select(name => name.GetString()!));
        Assert.Equal(before, await machine.Domain.ListCheckpointsAsync(Token));
        var again = (await command.RunAsync("checkpoint", "import", "exported", file, "--json")).AssertDone().Json;
        Assert.Equal(3, again.GetProperty("unchanged").GetArrayLength());
        await machine.WriteAsync("vda", 0, 4096, 3, Token);
        var point = (await command.RunAsync("backup", "exported", "--json")).AssertDone().Json.GetProperty("points")[0];
        Assert.Equal("incremental", point.GetProperty("disks")[0].GetProperty("mode").GetString());
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task DocumentsThatDoNotFit_AreRefused_AndNothingIsChanged()
    {
        using var command = new CommandLine(fixture.Host);
        var machine = await LabMachine.DefineAsync(fixture.Host, "picky", new LabDisk("vda", Mebi));
        var other = await LabMachine.DefineAsync(fixture.Host, "pickier", new LabDisk("vda", Mebi));
        foreach (var name in (string[])["a", "b"])
        {
            await CreateAsync(machine, name, "vda");
            await CreateAsync(other, name, "vda");
        }

        var text = (await command.RunAsync("checkpoint", "export", "picky")).AssertDone().Output;
        foreach (var name in (string[])["b", "a"])
            await machine.Domain.DeleteCheckpointAsync(name, CheckpointDeleteFlags.MetadataOnly, Token);
        await RefuseAsync(2, "as its own ancestor", records => records[0]!["parent"] = "b");
        await RefuseAsync(2, "has the parent 'c', which is not listed", records => records[0]!["parent"] = "c");
        await RefuseAsync(2, "is listed twice", records => records[1]!["name"] = "a");
        await RefuseAsync(2, "not starting with '.'", records => records[0]!["name"] = "../../etc/passwd");
        await RefuseAsync(2, "A-Z, a-z, 0-9", records => records[0]!["name"] = "überall");
        await RefuseAsync(2, "1 to 200", records => records[0]!["name"] = new string('n', 255));
        await RefuseAsync(1, "has no bitmap on disk 'vda'", records => records.Add(new JsonObject
        {
            ["name"] = "c",
            ["created"] = "2026-01-01T00:00:00Z",
            ["parent"] = "b",
            ["disks"] = new JsonArray(new JsonObject { ["name"] = "vda" }),
        }));
        await RefuseAsync(1, "disk 'vdz', which machine 'picky' does not have", records => records[1]!["disks"]![0]!["name"] = "vdz");
        await WriteAsync(_ => { });
        (await command.RunAsync("checkpoint", "import", "pickier", FileOf())).AssertRefused(2, "UUID");
        (await command.RunAsync("checkpoint", "import", "pickier", FileOf(), "--other-machine")).AssertDone();
        await File.WriteAllTextAsync(FileOf(), "{}", Token);
        (await command.RunAsync("checkpoint", "import", "picky", FileOf())).AssertRefused(2, "no document of checkpoints");

        // What has lost its bitmap can be left out; its children become its parent's.
        await WriteAsync(_ => { });
        await RemoveBitmapAsync(machine, "a");
        (await command.RunAsync("checkpoint", "import", "picky", FileOf())).AssertRefused(1, "'a' has no bitmap");
        Assert.Empty(await machine.Domain.ListCheckpointsAsync(Token));
        (await command.RunAsync("checkpoint", "import", "picky", FileOf(), "--only-usable")).AssertDone();
        Assert.Equal("b", Assert.Single(await machine.Domain.ListCheckpointsAsync(Token)));
        await machine.StopAsync(Token);
        await other.StopAsync(Token);

        string FileOf() => Path.Combine(command.Root, "records.json");

        async Task WriteAsync(Action<JsonArray> change)
        {
            var document = JsonNode.Parse(text)!;
            change(document["checkpoints"]!.AsArray());
            Directory.CreateDirectory(command.Root);
            await File.WriteAllTextAsync(FileOf(), document.ToJsonString(), Token);
        }

        async Task RefuseAsync(int exitCode, string reason, Action<JsonArray> change)
        {
            await WriteAsync(change);
            (await command.RunAsync("checkpoint", "import", "picky", FileOf())).AssertRefused(exitCode, reason);
            Assert.Empty(await machine.Domain.ListCheckpointsAsync(Token));
        }
    }

    [Fact]
    public async Task HundredsOfCheckpoints_AreExportedImportedAndListed()
    {
        const int Count = 300;
        using var command = new CommandLine(fixture.Host);
        command.Environment["TIDEMARK_REPO"] = "";
        var machine = await LabMachine.DefineAsync(fixture.Host, "hundreds", new LabDisk("vda", Mebi));
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", Token))[0].GetProperty("inserted").GetProperty("node-name")
            .GetString();
        var names = Enumerable.Range(0, Count).Select(number => $"c{number:d4}").ToList();
        var actions = string.Join(',', names.Select(name =>
            $$$"""{"type":"block-dirty-bitmap-add","data":{"node":"{{{node}}}","name":"{{{name}}}","persistent":true}}"""));
        await machine.QmpAsync($$$"""{"execute":"transaction","arguments":{"actions":[{{{actions}}}]}}""", Token);
        var records = names.Select((name, at) => new JsonObject
        {
            ["name"] = name,
            ["created"] = "2026-01-01T00:00:00Z",
            ["parent"] = at == 0 ? null : names[at - 1],
            ["disks"] = new JsonArray(new JsonObject { ["name"] = "vda" }),
        });
        var document = new JsonObject
        {
            ["format"] = "tidemark-checkpoints",
            ["v"] = 1,
            ["machine"] = "hundreds",
            ["machineUuid"] = machine.Domain.Uuid.ToString("d"),
            ["checkpoints"] = new JsonArray([.. records.Reverse()]),
        };
        Directory.CreateDirectory(command.Root);
        var file = Path.Combine(command.Root, "many.json");
        await File.WriteAllTextAsync(file, document.ToJsonString(), Token);
        (await command.RunAsync("checkpoint", "import", "hundreds", file)).AssertDone();
        Assert.Equal(names, await machine.Domain.ListCheckpointsAsync(Token));
        var page = (await command.RunAsync("checkpoint", "list", "hundreds", "--limit", "100", "--after", "c0099", "--json")).AssertDone()
            .Json;
        Assert.Equal(
            names[100..200], page.GetProperty("checkpoints").EnumerateArray().Select(item => item.GetProperty("name").GetString()!));
        var exported = JsonNode.Parse((await command.RunAsync("checkpoint", "export", "hundreds")).AssertDone().Output)!;
        Assert.Equal(names, exported["checkpoints"]!.AsArray().Select(record => (string)record!["name"]!));
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task Release_LetsGoOfThisRepository_OrOfAllOfOurs_NeverOfOthers()
    {
        using var command = new CommandLine(fixture.Host);
        using var other = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        (await other.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "released", new LabDisk("vda", 4 * Mebi));
        await CreateAsync(machine, "theirs", "vda");
        (await command.RunAsync("backup", "released")).AssertDone();
        (await other.RunAsync("backup", "released")).AssertDone();
        var released = (await command.RunAsync("checkpoint", "release", "released", "--json")).AssertDone().Json;
        Assert.Single(released.GetProperty("released").EnumerateArray());
        Assert.Equal(2, released.GetProperty("kept").GetArrayLength());
        Assert.Equal(2, (await machine.Domain.ListCheckpointsAsync(Token)).Count);
        Assert.Equal("incremental", await ModeAsync(other));
        Assert.Equal("full", await ModeAsync(command));
        Assert.Equal("incremental", await ModeAsync(command));
        (await command.RunAsync("checkpoint", "release", "released", "--all-repositories")).AssertDone();
        Assert.Equal("theirs", Assert.Single(await machine.Domain.ListCheckpointsAsync(Token)));
        command.Environment["TIDEMARK_REPO"] = "";
        (await command.RunAsync("checkpoint", "release", "released")).AssertRefused(2, "No repository is named");
        await machine.StopAsync(Token);

        static async Task<string> ModeAsync(CommandLine of) =>
            (await of.RunAsync("backup", "released", "--json")).AssertDone().Json
            .GetProperty("points")[0].GetProperty("disks")[0].GetProperty("mode").GetString()!;
    }

    private static Task<string> CreateAsync(LabMachine machine, string name, params string[] disks) =>
        machine.Domain.CreateCheckpointAsync(
            $"<domaincheckpoint><name>{name}</name><disks>"
            + string.Concat(machine.Disks.Select(disk =>
                $"<disk name='{disk}' checkpoint='{(disks.Contains(disk, StringComparer.Ordinal) ? "bitmap" : "no")}'/>"))
            + "</disks></domaincheckpoint>",
            cancellationToken: Token);

    private static async Task RemoveBitmapAsync(LabMachine machine, string name)
    {
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", Token))[0].GetProperty("inserted").GetProperty("node-name")
            .GetString();
        await machine.QmpAsync(
            $$$"""{"execute":"block-dirty-bitmap-remove","arguments":{"node":"{{{node}}}","name":"{{{name}}}"}}""", Token);
    }
}
