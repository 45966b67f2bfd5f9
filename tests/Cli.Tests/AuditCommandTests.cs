// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>A bitmap that lies, as a user sees it: exit codes, and every command that speaks of the restore points before.</summary>
public sealed class AuditCommandTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task FoundLie_EndsStrictWithThree_AndMarksTheRestorePointThatLacksChanges()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "doubted", new LabDisk("vda", 16 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 5, CommandLine.Token);
        (await command.RunAsync(["backup", "doubted", "--audit", "0"])).AssertDone();
        await machine.WriteAsync("vda", 9 * Mebi, Mebi, 6, CommandLine.Token); // where no chunk was that the next run recognises
        await ClearBitmapAsync(machine);
        string[] strict = ["backup", "doubted", "--quiesce", "off", "--strict", "--json", "--audit"];
        var lacking = (await command.RunAsync([.. strict, "0"])).AssertDone().Json.GetProperty("points")[0];
        Assert.Equal("incremental", lacking.GetProperty("disks")[0].GetProperty("mode").GetString());
        var id = lacking.GetProperty("id").GetString()!;
        Assert.DoesNotContain("MAY LACK", (await command.RunAsync("list")).AssertDone().Output, StringComparison.Ordinal);

        var found = await command.RunAsync([.. strict, "100%"]);
        Assert.Equal(3, found.ExitCode);
        var disk = found.Json.GetProperty("points")[0].GetProperty("disks")[0];
        Assert.Equal("full", disk.GetProperty("mode").GetString());
        Assert.Contains(
            found.Json.GetProperty("points")[0].GetProperty("warnings").EnumerateArray(),
            warning => warning.GetString()!.Contains(id, StringComparison.Ordinal));

        var lines = (await command.RunAsync("list")).AssertDone().Output.Split('\n');
        var marked = Assert.Single(lines, line => line.Contains("MAY LACK CHANGES since", StringComparison.Ordinal));
        Assert.Contains(id, marked, StringComparison.Ordinal);
        var shown = (await command.RunAsync("show", id, "--json")).AssertDone().Json;
        Assert.Equal(JsonValueKind.Object, shown.GetProperty("disks")[0].GetProperty("doubt").ValueKind);
        Assert.Contains("may lack changes", (await command.RunAsync("show", id)).AssertDone().Output, StringComparison.Ordinal);
        var latest = (await command.RunAsync("show", "doubted@latest")).AssertDone().Output;
        Assert.Contains("compared with the disk since", latest, StringComparison.Ordinal);
        var verified = (await command.RunAsync("verify", "--json")).AssertDone().Json;
        Assert.Equal(id, Assert.Single(verified.GetProperty("doubtful").EnumerateArray()).GetProperty("point").GetString());
        var restored = await command.RunAsync("restore", id, "--to", Path.Combine(command.Root, "out"));
        Assert.Contains("warning: Disk 'vda' may lack changes", restored.AssertDone().Errors + restored.Output, StringComparison.Ordinal);
        await machine.StopAsync(CommandLine.Token);
    }

    [Theory]
    [InlineData("101%")]
    [InlineData("-1")]
    [InlineData("much")]
    [InlineData("%")]
    public async Task AuditThatIsNoShareAndNoSize_IsRefused(string audit)
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var name = $"odd-audit-{Convert.ToHexStringLower(System.Text.Encoding.ASCII.GetBytes(audit))}";
        await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", Mebi));
        (await command.RunAsync("backup", name, $"--audit={audit}", "--dry-run")).AssertRefused(2, "neither a percentage");
    }

    private static async Task ClearBitmapAsync(LabMachine machine)
    {
        var name = Assert.Single(await machine.Domain.ListCheckpointsAsync(CommandLine.Token));
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", CommandLine.Token)).EnumerateArray()
            .First(device => device.TryGetProperty("inserted", out _)).GetProperty("inserted").GetProperty("node-name").GetString();
        await machine.QmpAsync(
            $$$"""{"execute":"block-dirty-bitmap-clear","arguments":{"node":"{{{node}}}","name":"{{{name}}}"}}""", CommandLine.Token);
    }
}
