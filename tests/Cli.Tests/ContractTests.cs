// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>What scripts rely on: names and meanings in JSON, exit codes, standard output holding the document and nothing else.</summary>
public sealed class ContractTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task JsonOfEveryCommand_HasTheKeysOfTheContract()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init", "--json")).AssertDone();
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "json",
            new LabDisk("vda", 4 * Mebi),
            new LabDisk("sda", null) { Bus = "sata", Device = "cdrom", IsEmpty = true });
        await machine.WriteAsync("vda", 0, Mebi, 5, CommandLine.Token);

        var backup = (await command.RunAsync("backup", "json", "--json", "--tag", "why=test")).AssertDone().Json;
        Assert.Equal(["points", "failed", "requests"], Keys(backup));
        var point = Assert.Single(backup.GetProperty("points").EnumerateArray());
        AssertPoint(point);
        Assert.Equal("test", point.GetProperty("tags").GetProperty("why").GetString());

        var list = (await command.RunAsync("list", "json", "--json")).AssertDone().Json;
        AssertPoint(Assert.Single(list.GetProperty("points").EnumerateArray()));
        var id = point.GetProperty("id").GetString()!;
        AssertPoint((await command.RunAsync("show", id, "--json")).AssertDone().Json);

        var restored = (await command.RunAsync("restore", id, "--to", Path.Combine(command.Root, "out"), "--json")).AssertDone().Json;
        Assert.Equal(id, restored.GetProperty("point").GetString());
        Assert.Equal(JsonValueKind.Null, restored.GetProperty("defined").ValueKind);
        var disk = Assert.Single(restored.GetProperty("disks").EnumerateArray());
        Assert.Equal(["name", "target", "bytesWritten", "verified"], Keys(disk).Take(4));
        Assert.True(disk.GetProperty("verified").GetBoolean());

        var verify = (await command.RunAsync("verify", "--level", "data", "--json")).AssertDone().Json;
        Assert.Equal(
            ["ok", "checked", "damaged", "healed", "quarantined", "unread", "oldestCheck", "doubtful", "requests"], Keys(verify));
        var machines = (await command.RunAsync("machines", "--json")).AssertDone().Json;
        Assert.Contains(machines.GetProperty("machines").EnumerateArray(), item => item.GetProperty("name").GetString() == "json");
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task PointNames_FindWhatIsMeant()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "named", new LabDisk("vda", Mebi));
        (await command.RunAsync("backup", "named")).AssertDone();
        (await command.RunAsync("backup", "named")).AssertDone();
        var points = (await command.RunAsync("list", "--json")).AssertDone().Json.GetProperty("points").EnumerateArray().ToList();
        var (oldest, newest) = (points[0].GetProperty("id").GetString()!, points[1].GetProperty("id").GetString()!);
        Assert.Equal(newest, await IdOfAsync("named@latest"));
        Assert.Equal(newest, await IdOfAsync($"{machine.Domain.Uuid}@latest"));
        Assert.Equal(oldest, await IdOfAsync(oldest));
        Assert.Equal(oldest, await IdOfAsync($"named@{oldest[..10]}"));
        Assert.Equal(newest, await IdOfAsync("named@2999-01-01T00:00"));
        (await command.RunAsync("show", "named@2001-01-01T00:00")).AssertRefused(2, "at or before");
        (await command.RunAsync("show", "named")).AssertRefused(2, "is a machine");
        (await command.RunAsync("show", "other@latest")).AssertRefused(2, "no restore point of a machine 'other'");
        await machine.StopAsync(CommandLine.Token);

        async Task<string> IdOfAsync(string name) =>
            (await command.RunAsync("show", name, "--json")).AssertDone().Json.GetProperty("id").GetString()!;
    }

    [Fact]
    public async Task DryRun_SaysWhatWouldHappen_AndChangesNothing()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "dry", new LabDisk("vda", Mebi));
        var plan = (await command.RunAsync("backup", "dry", "--dry-run", "--json")).AssertDone().Json;
        var disk = plan.GetProperty("machines")[0].GetProperty("disks")[0];
        Assert.Equal("full", disk.GetProperty("mode").GetString());
        Assert.NotEmpty(disk.GetProperty("reason").GetString()!);
        Assert.Empty(await machine.Domain.ListCheckpointsAsync(CommandLine.Token));
        Assert.Empty((await command.RunAsync("list", "--json")).Json.GetProperty("points").EnumerateArray());
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task SeveralMachinesAtOnce_AndOneThatFails()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machines = new List<LabMachine>();
        foreach (var name in (string[])["many-a", "many-b", "many-c"])
            machines.Add(await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 2 * Mebi)));
        var good = (await command.RunAsync("backup", "many-a", "many-b", "many-c", "--jobs", "3", "--json")).AssertDone();
        Assert.Equal(3, good.Json.GetProperty("points").GetArrayLength());
        await machines[1].StopAsync(CommandLine.Token);
        File.Delete(machines[1].ImagePath("vda"));
        var mixed = await command.RunAsync("backup", "many-a", "many-b", "many-c", "--jobs", "2", "--json");
        Assert.Equal(1, mixed.ExitCode);
        Assert.Equal(2, mixed.Json.GetProperty("points").GetArrayLength());
        Assert.Equal("many-b", Assert.Single(mixed.Json.GetProperty("failed").EnumerateArray()).GetProperty("machine").GetString());
        await machines[0].StopAsync(CommandLine.Token);
        await machines[2].StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task Strict_EndsWithThree_WhenSomethingIsLess()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "strict", new LabDisk("vda", Mebi));
        // No agent answers in this machine, so its file systems are not frozen.
        Assert.Equal(3, (await command.RunAsync("backup", "strict", "--strict")).ExitCode);
        Assert.Equal(0, (await command.RunAsync("backup", "strict", "--strict", "--quiesce", "off")).ExitCode);
        await machine.KillAsync(CommandLine.Token);
        await machine.StartAsync(CommandLine.Token);
        Assert.Equal(3, (await command.RunAsync("backup", "strict", "--strict", "--quiesce", "off")).ExitCode);
        (await command.RunAsync("backup", "strict", "--quiesce", "require")).AssertRefused(1, "a freeze was required");
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task Strict_EndsWithThree_WhenADiskIsLeftOutThatNobodyChoseToLeaveOut()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "lacking",
            new LabDisk("vda", Mebi),
            new LabDisk("vdb", Mebi) { Format = "raw", IsShareable = true },
            new LabDisk("sda", null) { Bus = "sata", Device = "cdrom", IsEmpty = true });
        string[] backUp = ["backup", "lacking", "--strict", "--quiesce", "off", "--json"];
        var lacking = await command.RunAsync(backUp);
        Assert.Equal(3, lacking.ExitCode);
        var warning = Assert.Single(lacking.Json.GetProperty("points")[0].GetProperty("warnings").EnumerateArray()).GetString();
        Assert.Contains("'vdb' is not protected: shared between machines", warning, StringComparison.Ordinal);
        Assert.Equal(0, (await command.RunAsync([.. backUp, "--exclude", "vdb"])).ExitCode);
        Assert.Equal(0, (await command.RunAsync([.. backUp, "--disk", "vda"])).ExitCode);
        await machine.StopAsync(CommandLine.Token);
    }

    private static void AssertPoint(JsonElement point)
    {
        foreach (var key in (string[])["id", "machine", "machineUuid", "time", "consistency", "tags", "disks", "notProtected", "warnings"])
            Assert.True(point.TryGetProperty(key, out _), $"'{key}' is missing.");
        Assert.Matches("^[0-9a-f]{12}$", point.GetProperty("id").GetString());
        Assert.EndsWith("+00:00", point.GetProperty("time").GetString(), StringComparison.Ordinal);
        var disk = Assert.Single(point.GetProperty("disks").EnumerateArray());
        string[] keys = ["name", "size", "mode", "reason", "changedBytes", "readBytes", "storedBytes", "root", "auditedBytes", "doubt"];
        foreach (var key in keys)
            Assert.True(disk.TryGetProperty(key, out _), $"'{key}' is missing.");
        Assert.Matches("^[0-9a-f]{64}$", disk.GetProperty("root").GetString());
        Assert.Equal("a CD-ROM drive", point.GetProperty("notProtected")[0].GetProperty("reason").GetString());
    }

    private static IEnumerable<string> Keys(JsonElement element) => element.EnumerateObject().Select(property => property.Name);
}
