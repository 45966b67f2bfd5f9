// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>Keys, roles, a second repository, and a verification with a budget, as users type them.</summary>
public sealed class KeyAndCopyTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task Keys_AreAddedListedExportedAndRemoved()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "keyed", new LabDisk("vda", 2 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 9, CommandLine.Token);
        (await command.RunAsync("backup", "keyed")).AssertDone();
        var broom = Path.Combine(command.Root, "broom");
        var added = (await command.RunAsync(
            "key", "add", "--new-key-file", broom, "--role", "maintenance", "--label", "cleaner", "--json")).AssertDone().Json;
        Assert.Equal("maintenance", added.GetProperty("role").GetString());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(broom));
        var keys = (await command.RunAsync("key", "list", "--json")).AssertDone().Json.GetProperty("keys").EnumerateArray().ToList();
        Assert.Equal(["full", "maintenance"], keys.Select(key => key.GetProperty("role").GetString()));
        Assert.Equal("cleaner", keys[1].GetProperty("label").GetString());

        // The maintenance key: metadata yes, guest data no.
        Assert.Contains("keyed", (await command.RunAsync("list", "--key-file", broom)).AssertDone().Output, StringComparison.Ordinal);
        (await command.RunAsync("verify", "--level", "packs", "--key-file", broom)).AssertDone();
        foreach (var refused in new[]
        {
            new[] { "restore", "keyed@latest", "--to", Path.Combine(command.Root, "out") }, ["verify", "--level", "data"],
            ["backup", "keyed"], ["key", "export"], ["key", "add", "--new-key-file", Path.Combine(command.Root, "more")],
        })
            (await command.RunAsync([.. refused, "--key-file", broom])).AssertRefused(1, "role 'maintenance'");
        Assert.False(File.Exists(Path.Combine(command.Root, "more")));

        var sheet = Path.Combine(command.Root, "sheet");
        (await command.RunAsync("key", "export", "--to", sheet)).AssertDone();
        (await command.RunAsync("key", "export", "--to", sheet)).AssertRefused(1, "cannot be written");
        (await command.RunAsync("restore", "keyed@latest", "--to", Path.Combine(command.Root, "out"), "--key-file", sheet)).AssertDone();
        (await command.RunAsync("key", "remove", keys[0].GetProperty("slot").GetString()!)).AssertRefused(1, "last of role 'full'");
        (await command.RunAsync("key", "remove", keys[1].GetProperty("slot").GetString()!)).AssertDone();
        (await command.RunAsync("list", "--key-file", broom)).AssertRefused(1, "opens none of the 1 key slots");
        (await command.RunAsync("key", "add")).AssertRefused(2, "one password or one key file");
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task Copy_BringsPointsOverOnce_AndTheyRestore()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "carried", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 2 * Mebi, 3, CommandLine.Token);
        (await command.RunAsync("backup", "carried")).AssertDone();
        await machine.WriteAsync("vda", Mebi, 4096, 4, CommandLine.Token);
        (await command.RunAsync("backup", "carried")).AssertDone();
        var truth = await machine.ReadDiskAsync("vda", CommandLine.Token);
        var (second, key) = (Path.Combine(command.Root, "second"), Path.Combine(command.Root, "key2"));
        (await command.RunAsync("init", "--repo", second, "--key-file", key)).AssertDone();
        var copied = (await command.RunAsync("copy", "--to", second, "--to-key-file", key, "--json")).AssertDone().Json;
        Assert.Equal(2, copied.GetProperty("copied").GetArrayLength());
        var again = (await command.RunAsync("copy", "--to", second, "--to-key-file", key, "--json", "carried@latest")).AssertDone().Json;
        Assert.Equal(1, again.GetProperty("alreadyThere").GetInt32());
        Assert.Equal(0, again.GetProperty("storedBytes").GetInt64());
        var folder = Path.Combine(command.Root, "restored");
        var restored = (await command.RunAsync(
            "restore", "carried@latest", "--to", folder, "--format", "raw", "--repo", second, "--key-file", key, "--json")).AssertDone();
        var target = restored.Json.GetProperty("disks")[0].GetProperty("target").GetString()!;
        Assert.Equal(truth, await File.ReadAllBytesAsync(target, CommandLine.Token));
        (await command.RunAsync("copy", "--to", second)).AssertRefused(1, "opens none");
        (await command.RunAsync("copy", "--to", command.Repository)).AssertRefused(2, "the same repository");
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task DamagedPack_IsSaidQuarantinedAndHealed()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "mended", new LabDisk("vda", 2 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 9, CommandLine.Token);
        (await command.RunAsync("backup", "mended")).AssertDone();
        (await command.RunAsync("verify", "--level", "packs", "--budget", "half")).AssertRefused(2, "'half' is not a budget");
        (await command.RunAsync("verify", "--level", "packs", "--budget", "50%")).AssertDone();
        var pack = Directory.EnumerateFiles(Path.Combine(command.Repository, "packs"), "d-*", SearchOption.AllDirectories).Single();
        File.Delete(pack);
        var looked = await command.RunAsync("verify", "--no-quarantine", "--json");
        Assert.Equal(5, looked.ExitCode);
        Assert.Equal(0, looked.Json.GetProperty("quarantined").GetArrayLength());
        var found = await command.RunAsync("verify");
        Assert.Equal(5, found.ExitCode);
        Assert.Contains("hurt until it is healed", found.Output, StringComparison.Ordinal);
        Assert.Contains("Quarantined: 1 packs", found.Output, StringComparison.Ordinal);
        (await command.RunAsync("backup", "mended")).AssertDone();
        var healed = (await command.RunAsync("verify", "--level", "data", "--json")).AssertDone().Json;
        Assert.Equal(1, healed.GetProperty("healed").GetArrayLength());
        await machine.StopAsync(CommandLine.Token);
    }
}
