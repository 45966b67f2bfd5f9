// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>forget, prune, gc, protect, tag and stats as users type them.</summary>
public sealed class RetentionCommandsTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task ForgetUndoAndGc_GiveBackSpaceAndNothingElse()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "waning", new LabDisk("vda", 8 * Mebi), new LabDisk("vdb", 2 * Mebi));
        var ids = new List<string>();
        for (byte round = 1; round <= 3; round++)
        {
            await machine.WriteAsync("vda", 0, 4 * Mebi, round, CommandLine.Token);
            await machine.WriteAsync("vdb", 0, Mebi, round, CommandLine.Token);
            var backup = (await command.RunAsync("backup", "waning", "--json")).AssertDone().Json;
            ids.Add(backup.GetProperty("points")[0].GetProperty("id").GetString()!);
        }

        var forgotten = (await command.RunAsync("forget", ids[0], ids[1], "--json")).AssertDone().Json;
        Assert.Equal(ids[..2], Strings(forgotten.GetProperty("forgotten")));
        Assert.Equal([ids[2]], await ListAsync(command));
        (await command.RunAsync("forget", ids[0])).AssertRefused(2, "no restore point");
        var back = (await command.RunAsync("forget", "--undo", ids[1], "--json")).AssertDone().Json.GetProperty("broughtBack");
        Assert.Equal(2, (await ListAsync(command)).Count);
        var backId = back.GetProperty("id").GetString()!;
        (await command.RunAsync("forget", backId, "--disk", "vdb")).AssertDone();
        Assert.Equal(1, (await command.RunAsync("show", backId, "--json")).AssertDone().Json.GetProperty("disks").GetArrayLength());
        (await command.RunAsync("forget", backId, "--disk", "vdz")).AssertRefused(2, "has no disk 'vdz'");

        Assert.Equal(0, (await command.RunAsync("gc", "--json")).AssertDone().Json.GetProperty("deletedBytes").GetInt64());
        (await command.RunAsync("gc", "--undo-window", "0h", "--max-delete", "0")).AssertRefused(1, "at most 0 %");
        var dry = (await command.RunAsync("gc", "--undo-window", "0h", "--dry-run", "--json")).AssertDone().Json;
        Assert.True(dry.GetProperty("deletedBytes").GetInt64() > 0);
        Assert.True(dry.GetProperty("dryRun").GetBoolean());
        var gc = (await command.RunAsync("gc", "--undo-window", "0h", "--max-delete", "100", "--json", "--progress", "json")).AssertDone();
        Assert.Equal(
            ["dryRun", "epoch", "deletedBytes", "keptBytes", "movedBytes", "expired", "revoked", "waitingFor", "packs"],
            gc.Json.EnumerateObject().Select(property => property.Name));
        Assert.True(gc.Json.GetProperty("deletedBytes").GetInt64() > 0);
        Assert.Contains("\"stage\":\"mark\"", gc.Errors, StringComparison.Ordinal);
        (await command.RunAsync("forget", "--undo", ids[0])).AssertRefused(2, "no restore point");
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        (await command.RunAsync("restore", ids[2], "--to", Path.Combine(command.Root, "newest"))).AssertDone();
        (await command.RunAsync("restore", backId, "--to", Path.Combine(command.Root, "back"))).AssertDone();
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task PruneProtectTagAndStats_SayAndDoTheSame()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "pruned", new LabDisk("vda", 4 * Mebi));
        for (byte round = 1; round <= 4; round++)
        {
            await machine.WriteAsync("vda", 0, Mebi, round, CommandLine.Token);
            (await command.RunAsync("backup", "pruned")).AssertDone();
        }

        var ids = await ListAsync(command);
        (await command.RunAsync("prune")).AssertRefused(2, "Nothing says what to keep");
        (await command.RunAsync("protect", ids[0], "--until", "30d")).AssertDone();
        var tagged = (await command.RunAsync("tag", ids[1], "keep=yes", "note=first", "--json")).AssertDone().Json;
        Assert.Equal("yes", tagged.GetProperty("tags").GetProperty("keep").GetString());
        (await command.RunAsync("tag", ids[1], "note=")).AssertDone();
        var shown = (await command.RunAsync("show", ids[1], "--json")).AssertDone().Json;
        Assert.Equal(["keep"], shown.GetProperty("tags").EnumerateObject().Select(tag => tag.Name));
        (await command.RunAsync("forget", ids[0])).AssertRefused(1, "is protected");

        string[] prune = ["prune", "pruned", "--keep-last", "1", "--keep-tag", "keep=yes", "--json"];
        var plan = (await command.RunAsync([.. prune, "--dry-run"])).AssertDone().Json;
        Assert.Equal([ids[2]], Strings(plan.GetProperty("retired")));
        Assert.Equal(4, (await ListAsync(command)).Count);
        Assert.Equal([ids[2]], Strings((await command.RunAsync(prune)).AssertDone().Json.GetProperty("retired")));
        Assert.Equal([ids[0], ids[1], ids[3]], await ListAsync(command));
        (await command.RunAsync("protect", ids[0], "--off")).AssertDone();
        (await command.RunAsync("forget", ids[0])).AssertDone();

        var stats = (await command.RunAsync("stats", "--json")).AssertDone().Json;
        Assert.Equal(2, stats.GetProperty("points").GetInt32());
        Assert.True(stats.GetProperty("deletedBytes").GetInt64() > 0);
        Assert.Equal("pruned", Assert.Single(stats.GetProperty("groups").EnumerateArray()).GetProperty("name").GetString());
        var machineStats = (await command.RunAsync("stats", "pruned", "--json")).AssertDone().Json;
        var names = machineStats.GetProperty("groups").EnumerateArray().Select(group => group.GetProperty("name").GetString());
        Assert.Equal([ids[1], ids[3]], names);
        await machine.StopAsync(CommandLine.Token);
    }

    private static async Task<List<string>> ListAsync(CommandLine command) =>
        (await command.RunAsync("list", "--json")).AssertDone().Json.GetProperty("points").EnumerateArray()
            .Select(point => point.GetProperty("id").GetString()!).ToList();

    private static IEnumerable<string?> Strings(JsonElement array) => array.EnumerateArray().Select(item => item.GetString());
}
