// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>What the settings file says of machines, and that a key with nothing after it says nothing.</summary>
public sealed class SettingsTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData("machines:\n", false)]
    [InlineData("defaults:\n", false)]
    [InlineData("machines:\n  NAME:\n", false)]
    [InlineData("machines:\n  NAME:\ndefaults:\n  exclude: [vdb]\n", true)]
    [InlineData("machines:\n  NAME:\n    exclude: [vdb]\ndefaults:\n", true)]
    [InlineData("machines:\n  UUID:\n    exclude: [vdb]\n", true)]
    [InlineData("machines:\n  OTHER-CASE:\n    exclude: [vdb]\n", false)]
    public async Task WhatIsSaidOfAMachine_Holds(string settings, bool isExcluded)
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var name = $"set{Guid.NewGuid().ToString("n")[..6]}";
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", Mebi), new LabDisk("vdb", Mebi));
        var file = Path.Combine(command.Root, "config.yaml");
        var text = settings.Replace("NAME", name, StringComparison.Ordinal)
            .Replace("UUID", machine.Domain.Uuid.ToString("d").ToUpperInvariant(), StringComparison.Ordinal)
            .Replace("OTHER-CASE", name.ToUpperInvariant(), StringComparison.Ordinal);
        await File.WriteAllTextAsync(file, text, CommandLine.Token);
        var plan = (await command.RunAsync("backup", name, "--config", file, "--dry-run", "--json")).AssertDone().Json;
        Assert.Equal(isExcluded ? ["vda"] : ["vda", "vdb"], Names(plan.GetProperty("machines")[0].GetProperty("disks")));
        await machine.StopAsync(CommandLine.Token);
    }

    private static IEnumerable<string> Names(JsonElement disks) =>
        disks.EnumerateArray().Select(disk => disk.GetProperty("name").GetString()!);
}
